"""Formatters for who wants the trace in a log: one of lines, and one of JSON.

    {"formatters": {"json": {"()": "avatar_telemetry.logs.JsonFormatter"}}, ...}

Both work with records that have no trace, such as those of a process without telemetry.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from avatar_telemetry.config.settings import Privacy as Mode
from avatar_telemetry.config.settings import privacy_mode
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.correlation import NO_TRACE

FORMAT = (
    "%(asctime)s %(levelname)s [%(name)s] [trace_id=%(trace_id)s span_id=%(span_id)s"
    " service.name=%(service_name)s] %(message)s"
)
"""A format with the trace, for any formatter whose records have the fields."""
UNKNOWN: Mapping[str, Any] = {**NO_TRACE, "service_name": "", "service.name": ""}
# Not of makeLogRecord, which asks the factory: that one may be ours by now.
_STANDARD = frozenset(
    (*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName")
) | {"service_name"}
LARGEST = 1 << 64
# The formatter only asks for exceptions; nothing is hashed.
_UNUSED_KEY = b"unused"


class TraceFormatter(logging.Formatter):
    """A formatter of lines that knows a value for a field that a record does not have.

    Args:
        fmt: the format, :data:`FORMAT` where there is none.
        datefmt: see ``logging.Formatter``.
        style: see ``logging.Formatter``.
        validate: see ``logging.Formatter``.
        defaults: values of further fields.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        defaults = {**UNKNOWN, **(defaults or {})}
        super().__init__(fmt or FORMAT, datefmt, style, validate, defaults=defaults)


class JsonFormatter(logging.Formatter):
    """One JSON object for a record, on one line.

    ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, the trace, the ``exception.*``
    attributes of OpenTelemetry, and whatever ``extra`` the application gave. Of an exception it
    shows what the privacy mode lets out; the message is the application's own and stays as it is.

    Args:
        fmt: not used; ``dictConfig`` and ``fileConfig`` give one.
        datefmt: likewise.
        style: likewise.
        validate: likewise.
        privacy: ``strict``, ``balanced`` or ``off``; else as ``AVATAR_TELEMETRY_PRIVACY`` says.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        privacy: Mode | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._privacy = Privacy(privacy or privacy_mode(os.environ), _UNUSED_KEY)

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON. Never raises."""
        own = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
            **self._exception(record),
        }
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if extra.get("trace_id") == NO_TRACE["trace_id"]:
            for key in NO_TRACE:
                extra.pop(key, None)
        told = {(f"extra.{key}" if key in own else key): value for key, value in extra.items()}
        return _encoded({**own, **told})

    def _exception(self, record: logging.LogRecord) -> dict[str, str]:
        error = record.exc_info[1] if record.exc_info else None
        told = self._privacy.describe(error) if error is not None else {}
        if record.stack_info and self._privacy.mode == "off":
            told["stack"] = record.stack_info
        return told


def message_of(record: logging.LogRecord) -> str:
    """The message of a record with its arguments; where these do not fit, without. Never raises."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments are the application's, and so is their text
        return record.msg if isinstance(record.msg, str) else type(record.msg).__name__


def _encoded(told: dict[str, Any]) -> str:
    try:
        return json.dumps(told, default=_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        plain = {str(key): each if _is_plain(each) else _text(each) for key, each in told.items()}
        return json.dumps(plain)


def _is_plain(value: Any) -> bool:
    # A longer number cannot be written as text (sys.set_int_max_str_digits).
    number = isinstance(value, int) and -LARGEST < value < LARGEST
    return number or value is None or isinstance(value, str)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - it is the application's object
        return f"<{type(value).__name__}>"
