"""Formatters with the trace: one for lines, and one for JSON.

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
# Not from makeLogRecord, which calls the factory: that may add the fields already.
_STANDARD = frozenset(
    (*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName")
) | {"service_name"}
MAX_NUMBER = 1 << 64
# Nothing is hashed: only exceptions are redacted.
_UNUSED_KEY = b"unused"


class TraceFormatter(logging.Formatter):
    """A formatter of lines with default values for the fields of the trace.

    Args:
        fmt: the format; default: :data:`FORMAT`.
        datefmt: see ``logging.Formatter``.
        style: see ``logging.Formatter``.
        validate: see ``logging.Formatter``.
        defaults: the default values of other fields.
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
    """A formatter of one JSON object on one line.

    The object has ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, the trace, the
    ``exception.*`` attributes of OpenTelemetry, and the application's ``extra``. An exception is
    redacted by the privacy mode; the message is unchanged.

    Args:
        fmt: ignored; ``dictConfig`` and ``fileConfig`` pass it.
        datefmt: ignored.
        style: ignored.
        validate: ignored.
        privacy: ``strict``, ``balanced`` or ``off``; default: ``AVATAR_TELEMETRY_PRIVACY``.
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
        """Return a record as JSON. Never raises."""
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
        added = {(f"extra.{key}" if key in own else key): value for key, value in extra.items()}
        return _encoded({**own, **added})

    def _exception(self, record: logging.LogRecord) -> dict[str, str]:
        error = record.exc_info[1] if record.exc_info else None
        fields = self._privacy.describe(error) if error is not None else {}
        if record.stack_info and self._privacy.mode == "off":
            fields["stack"] = record.stack_info
        return fields


def message_of(record: logging.LogRecord) -> str:
    """Return the message of a record, without its arguments if they do not fit. Never raises."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - it calls methods of the application's arguments
        return record.msg if isinstance(record.msg, str) else type(record.msg).__name__


def _encoded(fields: dict[str, Any]) -> str:
    try:
        return json.dumps(fields, default=_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        plain = {str(key): each if _is_plain(each) else _text(each) for key, each in fields.items()}
        return json.dumps(plain)


def _is_plain(value: Any) -> bool:
    # str() of a very long number raises (sys.set_int_max_str_digits).
    number = isinstance(value, int) and -MAX_NUMBER < value < MAX_NUMBER
    return number or value is None or isinstance(value, str)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - an object of the application
        return f"<{type(value).__name__}>"
