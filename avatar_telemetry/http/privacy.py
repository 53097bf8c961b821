"""What of a client may leave the process: everything that goes into a span passes here.

    privacy = Privacy(settings.privacy, key, profile.query)
    privacy.address("192.0.2.77")  # balanced: "192.0.2.0"

``off`` lets pass what came, within bounds; ``balanced`` keeps what helps to operate and to join the
requests of one avatar; ``strict`` keeps nothing that belongs to a person. ``None`` means absent.
Every text that comes out can be encoded in UTF-8.
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

# RFC 3986: what a path segment, and a query, may hold besides letters and digits.
_PATH_SAFE = "/:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?%"
_EXTENSION = re.compile(r".\.([A-Za-z0-9]{1,7})\Z", re.DOTALL)
_PIXELS = re.compile(r"[0-9]{1,5}")
_MAX_ESCAPED_LENGTH = 3 * 32


@dataclass(frozen=True)
class Privacy:
    """One mode of privacy, built once and used for every request. None of its methods raises.

    Args:
        mode: ``strict``, ``balanced`` or ``off``.
        key: what digests, e-mail addresses and names are hashed with, 1 to 64 bytes. The same in
            all workers, or the requests of one avatar cannot be joined.
        query_rules: what the profile lists of a query string.
        sent: returns what the request in progress holds of its client, if there is one.

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
        """A digest, an e-mail address or a user name: 16 hexadecimal digits of its keyed hash.

        Args:
            text: in any case: what is one avatar to the application has one hash.
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
        """A client's address: its network of 24 bits, of 48 for IPv6."""
        if self.mode == "balanced":
            return _network(ip[:MAX_NAME_LENGTH])
        return None if self.mode == "strict" else scrub.encodable(ip[:MAX_NAME_LENGTH]) or None

    def text(self, value: str) -> str | None:
        """What a program says of itself, such as a user agent: without e-mail addresses.

        Args:
            value: a header as WSGI gives it.
        """
        if self.mode == "strict" or not value:
            return None
        if self.mode == "off":
            return decoded(value[:MAX_TEXT_LENGTH])
        # An address that crosses the bound is known as one only when it is seen whole.
        return _without_emails(value[: 2 * MAX_TEXT_LENGTH])

    def file_name(self, name: str) -> str | None:
        """The name of an uploaded file: its extension alone."""
        if self.mode == "off":
            return scrub.encodable(name[:MAX_NAME_LENGTH]) or None
        found = _EXTENSION.search(name[-MAX_NAME_LENGTH:]) if self.mode == "balanced" else None
        return f".{found[1].lower()}" if found else None

    def path(self, template: str, script_name: str, path: str) -> str:
        """The path of a URL, percent-encoded: the route's template in its place.

        Args:
            template: of the route.
            script_name: ``SCRIPT_NAME``, where the application is mounted; the server's word.
            path: ``PATH_INFO`` as WSGI gives it.
        """
        if self.mode == "off":
            return quote_path(script_name + path)
        place = template if template[:1] == "/" else f"/{{{template}}}"
        return quote_path(script_name) + place if script_name else place

    def query(self, query: str) -> str:
        """A query string: the listed keys, with the listed values and all others redacted.

        Args:
            query: ``QUERY_STRING`` as WSGI gives it.
        """
        if not query:
            return ""
        if self.mode == "off":
            return _quote(query, _QUERY_SAFE)
        fields = query[:MAX_URL_PART_LENGTH].split("&", MAX_FIELDS)
        return "&".join(filter(None, map(self._query_field, islice(fields, MAX_FIELDS))))

    def exception(self, error: BaseException) -> tuple[str, str | None]:
        """The type of an exception and its message, scrubbed and bounded."""
        try:
            if self.mode == "strict":
                return error_type(error), None
            frames = deque(traceback.walk_tb(error.__traceback__), MAX_FRAMES)
            return error_type(error), self.message(str(error), [f.f_code for f, _ in frames])
        except Exception:  # noqa: BLE001 - an exception of the application may be broken itself
            return error_type(error), None

    def message(self, text: str, codes: Iterable[CodeType] = ()) -> str | None:
        """A message that may hold anything, scrubbed and bounded.

        Args:
            text: the message.
            codes: of the program that made it.
        """
        if self.mode == "strict":
            return None
        if self.mode == "off":
            return scrub.encodable(text[: scrub.MAX_MESSAGE_LENGTH])
        sent = self.sent()
        known = scrub.words_of_code(codes) if sent is not None and sent.has_form else ()
        return scrub.message(text, sent, known)

    def describe(self, error: BaseException) -> dict[str, str]:
        """The attributes of an exception (semantic conventions, exceptions on spans and in logs):
        type, message and stack, as far as they may be told."""
        kind, message = self.exception(error)
        stack = self.stack(error)
        told = {"exception.type": kind, "exception.message": message, "exception.stacktrace": stack}
        return {name: text for name, text in told.items() if text is not None}

    def stack(self, error: BaseException) -> str | None:
        """Where an exception passed: file, line and function of the last frames.

        Lines of source are code, but code may hold values; they and the messages only pass in
        ``off``.
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
        except Exception:  # noqa: BLE001 - it formats what the application made
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
    """``error.type`` of an exception: its class, with its module unless that is a built-in one.

    https://opentelemetry.io/docs/specs/semconv/attributes-registry/error/
    """
    kind = type(error)
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def decoded(value: str) -> str:
    """A header or path of bytes that WSGI shows as Latin-1, read as UTF-8.

    Raises:
        TypeError: the value is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"not text, but {type(value).__name__}")
    return value if value.isascii() else _bytes(value).decode("utf-8", "replace")


def quote_path(path: str) -> str:
    """A path as WSGI gives it, percent-encoded as it was sent (RFC 3986). Never raises."""
    return _quote(path, _PATH_SAFE)


def _quote(text: str, safe: str) -> str:
    return quote(_bytes(text[:MAX_URL_PART_LENGTH]), safe)


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _plain(text: str) -> str:
    """A key or value without its percent-encoding; a long one can be nothing that is listed."""
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
