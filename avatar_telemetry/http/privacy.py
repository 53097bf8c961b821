"""Redact client data before it is recorded in a span.

    privacy = Privacy(settings.privacy, key, profile.query)
    privacy.address("192.0.2.77")  # balanced: "192.0.2.0"

``off`` keeps the data, within bounds; ``balanced`` keeps the data that operation needs, and allows
to join the requests of one avatar; ``strict`` drops all personal data. ``None`` means absent. Every
returned text can be encoded in UTF-8.
"""

from __future__ import annotations

import re
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_network
from itertools import islice
from types import CodeType
from typing import Any
from urllib.parse import quote, unquote_plus

from avatar_telemetry.config.settings import Privacy as Mode
from avatar_telemetry.http import scrub
from avatar_telemetry.http.forwarded import parse_address
from avatar_telemetry.http.scrub import REDACTED, Sent
from avatar_telemetry.profiles.model import PIXELS, QueryRule

DIGEST_BYTES = 8
MAX_KEY_LENGTH = blake2b.MAX_KEY_SIZE
MAX_NAME_LENGTH = 255
"""Characters of a digest, a name or a file name."""
MAX_TEXT_LENGTH = 256
MAX_URL_PART_LENGTH = 4096
MAX_STACK_LENGTH = 16_384
MAX_FRAMES = 32
MAX_FIELDS = 32
NETWORK_BITS = {4: 24, 6: 48}

# RFC 3986: the characters of a path segment and of a query, besides letters and digits.
_PATH_SAFE = "/:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?%"
_EXTENSION = re.compile(r".\.([A-Za-z0-9]{1,7})\Z", re.DOTALL)
_PIXELS = re.compile(r"[0-9]{1,5}")
_MAX_ESCAPED_LENGTH = 3 * 32


@dataclass(frozen=True)
class Privacy:
    """The redaction of one privacy mode. None of its methods raises.

    Args:
        mode: ``strict``, ``balanced`` or ``off``.
        key: the key of hashes, 1 to 64 bytes, the same in all workers so that the requests of one
            avatar can be joined.
        query_rules: the query keys of the profile, and the values that may be recorded.
        sent: a function that returns the client data of the request in progress, if there is one.

    Raises:
        ValueError: the key is empty or too long.
    """

    mode: Mode
    key: bytes = field(repr=False)
    query_rules: Mapping[str, QueryRule] = field(default_factory=dict)
    sent: Callable[[], Sent | None] = field(default=lambda: None, repr=False, compare=False)
    _hash: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.key) <= MAX_KEY_LENGTH:
            raise ValueError(f"a privacy key has 1 to {MAX_KEY_LENGTH} bytes, not {len(self.key)}")
        object.__setattr__(self, "_hash", blake2b(digest_size=DIGEST_BYTES, key=self.key))

    def digest(self, text: str) -> str | None:
        """Redact a digest, an e-mail address or a user name to 16 digits of a keyed hash (hex).

        Args:
            text: the text; its case is ignored, as the application ignores it.
        """
        if self.mode == "strict" or not text:
            return None
        if self.mode == "off":
            return scrub.encodable(text[:MAX_NAME_LENGTH])
        hashed = self._hash.copy()
        hashed.update(text[:MAX_NAME_LENGTH].strip().lower().encode("utf-8", "replace"))
        digest: str = hashed.hexdigest()
        return digest

    def address(self, ip: str) -> str | None:
        """Redact a client address to its network of 24 bits, of 48 bits for IPv6."""
        if self.mode == "balanced":
            return _network(ip[:MAX_NAME_LENGTH])
        return None if self.mode == "strict" else scrub.encodable(ip[:MAX_NAME_LENGTH]) or None

    def text(self, value: str) -> str | None:
        """Remove e-mail addresses from a header such as a user agent.

        Args:
            value: the value of the header as WSGI passes it.
        """
        if self.mode == "strict" or not value:
            return None
        if self.mode == "off":
            return decoded(value[:MAX_TEXT_LENGTH])
        # An address that crosses the bound is recognised only if it is complete.
        return _without_emails(value[: 2 * MAX_TEXT_LENGTH])

    def file_name(self, name: str) -> str | None:
        """Redact the name of an uploaded file to its extension."""
        if self.mode == "off":
            return scrub.encodable(name[:MAX_NAME_LENGTH]) or None
        found = _EXTENSION.search(name[-MAX_NAME_LENGTH:]) if self.mode == "balanced" else None
        return f".{found[1].lower()}" if found else None

    def path(self, template: str, script_name: str, path: str) -> str:
        """Redact the path of a URL to the template of its route, percent-encoded.

        Args:
            template: the template of the route.
            script_name: ``SCRIPT_NAME``, which the server sets.
            path: ``PATH_INFO`` as WSGI passes it.
        """
        if self.mode == "off":
            return quote_path(script_name + path)
        place = template if template[:1] == "/" else f"/{{{template}}}"
        return quote_path(script_name) + place if script_name else place

    def query(self, query: str) -> str:
        """Redact a query string: only listed keys are kept, and only their listed values.

        Args:
            query: ``QUERY_STRING`` as WSGI passes it.
        """
        if not query:
            return ""
        if self.mode == "off":
            return _quote(query, _QUERY_SAFE)
        fields = query[:MAX_URL_PART_LENGTH].split("&", MAX_FIELDS)
        return "&".join(filter(None, map(self._query_field, islice(fields, MAX_FIELDS))))

    def exception(self, error: BaseException) -> tuple[str, str | None]:
        """Return the type of an exception and its message, scrubbed and bounded."""
        try:
            if self.mode == "strict":
                return error_type(error), None
            frames = deque(traceback.walk_tb(error.__traceback__), MAX_FRAMES)
            return error_type(error), self.message(str(error), [f.f_code for f, _ in frames])
        except Exception:  # noqa: BLE001 - it calls methods of the application's exception
            return error_type(error), None

    def message(self, text: str, codes: Iterable[CodeType] = ()) -> str | None:
        """Scrub and bound a message of unknown content.

        Args:
            text: the message.
            codes: the code objects whose fixed texts may be part of the message.
        """
        if self.mode == "strict":
            return None
        if self.mode == "off":
            return scrub.encodable(text[: scrub.MAX_MESSAGE_LENGTH])
        sent = self.sent()
        known = scrub.words_of_code(codes) if sent is not None and sent.has_form else ()
        return scrub.message(text, sent, known)

    def describe(self, error: BaseException) -> dict[str, str]:
        """Return the attributes of an exception (semantic conventions, exceptions on spans and in
        logs): its type, and its message and stack if they may be recorded."""
        kind, message = self.exception(error)
        values = {
            "exception.type": kind,
            "exception.message": message,
            "exception.stacktrace": self.stack(error),
        }
        return {name: text for name, text in values.items() if text is not None}

    def stack(self, error: BaseException) -> str | None:
        """Return file, line and function of the last frames of an exception.

        Source lines and messages are included in mode ``off`` only, because code may contain
        values.
        """
        if self.mode == "strict":
            return None
        if self.mode == "balanced":
            frames = deque(traceback.walk_tb(error.__traceback__), MAX_FRAMES)
            places = (f'File "{f.f_code.co_filename}", line {line}, in {f.f_code.co_name}'
                      for f, line in frames)  # fmt: skip
            return scrub.encodable("\n".join(places))[-MAX_STACK_LENGTH:] or None
        try:
            lines = traceback.format_exception(type(error), error, error.__traceback__)
        except Exception:  # noqa: BLE001 - it calls methods of the application's exception
            return None
        return scrub.encodable("".join(lines))[-MAX_STACK_LENGTH:]

    def _query_field(self, text: str) -> str:
        key, _, value = text.partition("=")
        key = _plain(key)
        rule = self.query_rules.get(key)
        if rule is None:
            return ""
        value = _plain(value)
        listed = _PIXELS.fullmatch(value) if rule == PIXELS else value in rule
        return f"{key}={value if listed else REDACTED}"


def error_type(error: BaseException) -> str:
    """Return ``error.type`` of an exception: its class, with its module unless it is built in.

    https://opentelemetry.io/docs/specs/semconv/attributes-registry/error/
    """
    kind = type(error)
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def decoded(value: str) -> str:
    """Decode a header or path as UTF-8, from the Latin-1 of WSGI.

    Raises:
        TypeError: the value is not a text.
    """
    if not isinstance(value, str):
        raise TypeError(f"not text, but {type(value).__name__}")
    return value if value.isascii() else _bytes(value).decode("utf-8", "replace")


def quote_path(path: str) -> str:
    """Percent-encode a path of WSGI as it was sent (RFC 3986). Never raises."""
    return _quote(path, _PATH_SAFE)


def _quote(text: str, safe: str) -> str:
    return quote(_bytes(text[:MAX_URL_PART_LENGTH]), safe)


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _plain(text: str) -> str:
    """Decode a key or value; a long one becomes empty, because no listed one is as long."""
    return "" if len(text) > _MAX_ESCAPED_LENGTH else unquote_plus(text)


@lru_cache(maxsize=2048)
def _network(ip: str) -> str | None:
    address = parse_address(ip)
    if address is None:
        return None
    bits = NETWORK_BITS[address.version]
    return str(ip_network((int(address), bits), strict=False).network_address)


@lru_cache(maxsize=1024)
def _without_emails(text: str) -> str:
    return scrub.emails(decoded(text))[:MAX_TEXT_LENGTH]
