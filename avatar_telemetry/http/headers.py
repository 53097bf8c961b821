"""Capture headers as span attributes, with secrets redacted.

``OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST`` and ``..._RESPONSE`` select them by
regular expressions, ``..._SANITIZE_FIELDS`` those whose values are redacted. Credentials are always
redacted, except in the privacy mode ``off``.

    capture = HeaderCapture("request", ["accept.*"], [], "balanced")
    capture.of_request(environ)  # {"http.request.header.accept": ("image/*",)}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from opentelemetry.util.http import (
    SanitizeValue,
    normalise_request_header_name,
    normalise_response_header_name,
)

from avatar_telemetry.config.settings import Privacy as Mode
from avatar_telemetry.http.environ import text
from avatar_telemetry.http.privacy import decoded

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CREDENTIALS = (
    r"^authorization$", r"^proxy-authorization$", r"^cookie$", r"^set-cookie$",
)  # fmt: skip
MAX_VALUE_LENGTH = 1024
MAX_NAME_LENGTH = 128
MAX_VALUES = 64
_NORMALISE = {"request": normalise_request_header_name, "response": normalise_response_header_name}


class HeaderCapture:
    """The captured headers of one direction. False if none is selected. Never raises.

    Args:
        direction: ``request`` or ``response``.
        captured: the regular expressions of the names, matched as a whole without case.
        sanitized: the regular expressions of redacted names, searched without case.
        mode: the privacy mode.

    Raises:
        re.error: an expression does not compile.
    """

    def __init__(
        self,
        direction: Literal["request", "response"],
        captured: Sequence[str],
        sanitized: Sequence[str],
        mode: Mode,
    ) -> None:
        # An empty expression, such as after a trailing comma, would match every name.
        wanted, secret = list(filter(None, captured)), list(filter(None, sanitized))
        self._wanted = re.compile("|".join(f"(?:{each})" for each in wanted), re.IGNORECASE)
        self._any = bool(wanted)
        self._sanitize = SanitizeValue([*secret, *(CREDENTIALS if mode != "off" else ())])
        self._normalise = _NORMALISE[direction]
        self._key = lru_cache(maxsize=256)(self._find_key)

    def __bool__(self) -> bool:
        return self._any

    def of_request(self, environ: WSGIEnvironment) -> dict[str, tuple[str, ...]]:
        """Return the attributes of the headers of a request, with the names that WSGI has."""
        if not self._any:
            return {}
        return self.of(
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if (isinstance(name, str) and name.startswith("HTTP_"))
            or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        )

    def of(self, headers: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
        """Return the attributes of headers, with one value for each occurrence of a name."""
        found: dict[str, tuple[str, ...]] = {}
        if not self._any:
            return found
        for name, value in headers:
            known = isinstance(name, str) and len(name) <= MAX_NAME_LENGTH
            key = self._key(name) if known else None
            if key is not None and len(found.get(key, ())) < MAX_VALUES:
                shown = self._sanitize.sanitize_header_value(name, text(value))
                found[key] = (*found.get(key, ()), decoded(shown[:MAX_VALUE_LENGTH]))
        return found

    def _find_key(self, name: str) -> str | None:
        return self._normalise(name) if self._wanted.fullmatch(name) else None
