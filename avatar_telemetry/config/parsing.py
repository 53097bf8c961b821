"""Parsers of variables. Each raises ``ValueError`` or ``KeyError`` for an invalid text."""

from __future__ import annotations

import ast
import re
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from urllib.parse import unquote, urlsplit

Network = IPv4Network | IPv6Network
Pairs = tuple[tuple[str, str], ...]

SAMPLERS = (
    "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
    "parentbased_traceidratio",
)  # fmt: skip
"""The values of ``OTEL_TRACES_SAMPLER`` that the SDK itself implements."""
PROPAGATORS = frozenset(("tracecontext", "baggage", "none"))
"""The values of ``OTEL_PROPAGATORS`` that need no other package."""
DETECTORS = frozenset(("otel", "*"))
"""The values of ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`` that need no lookup."""
PROFILES = ("generic", "ivatar")
"""The modules of ``avatar_telemetry.profiles`` with a profile."""


class ExplainedError(ValueError):
    """An invalid text; the message gives the operator the reason."""


class UnknownNamesError(ValueError):
    """A list that has unknown names.

    Args:
        known: the other names of the list.
    """

    def __init__(self, known: tuple[str, ...]) -> None:
        super().__init__("unknown names")
        self.known = known


@dataclass(frozen=True)
class Allow:
    """An allow-list of callers or peers.

    Args:
        networks: the allowed networks.
        unix: whether a peer on a unix socket is allowed.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def holds(self, address: str) -> bool:
        """Return whether an address is allowed. It is empty for a peer on a unix socket (gunicorn).
        A text that is not an address is not allowed."""
        if not address:
            return self.unix
        found = ip(address)
        return found is not None and any(found in network for network in self.networks)


def ip(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an IP address without port. Never raises.

    Returns:
        The address without its zone, an IPv4-mapped IPv6 address as IPv4 (RFC 4291, section
        2.5.5.2); ``None`` for any other text.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def hostname(name: str) -> str:
    """Return a host name; for an empty text that of this host."""
    return text(name) or socket.gethostname()


def boolean(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True, "on": True}
    values |= {"false": False, "0": False, "no": False, "off": False}
    return values[text.strip().lower()]


def truth(text: str) -> bool:
    """Parse ``true`` or ``false`` in any case, and no other text (OpenTelemetry specification)."""
    return {"true": True, "false": False}[text.strip().lower()]


def one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        name = text.strip().lower()
        if name not in names:
            raise ValueError(name)
        return name

    return parse


def reference(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text):
        raise ValueError(text)
    return text


def profile(text: str) -> str:
    """Return ``module:NAME`` of a profile, which may be a name of :data:`PROFILES`."""
    return reference(f"avatar_telemetry.profiles.{text}:PROFILE" if text in PROFILES else text)


def application(text: str) -> str:
    """Check ``module:NAME``, or a call of it with literal arguments."""
    try:
        parsed = ast.parse(text.partition(":")[2], mode="eval").body
        if not isinstance(parsed, ast.Call):
            return reference(text)
        for each in (*parsed.args, *(named.value for named in parsed.keywords)):
            ast.literal_eval(each)
        if not all(named.arg for named in parsed.keywords):
            raise ValueError("unpacked arguments")
        reference(f"{text.partition(':')[0]}:{ast.unparse(parsed.func)}")
    except (SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(text) from error
    return text


def path(text: str) -> str:
    if text and not re.fullmatch(r"/[\w./~-]*", text, re.ASCII):
        raise ValueError(text)
    return text


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a parser of numbers within bounds."""

    def parse(text: str) -> float:
        value = float(text)
        if not minimum <= value <= maximum:
            raise ValueError(text)
        return value

    return parse


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s)")


def duration(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a parser of durations within bounds, as seconds: ``1s``, ``250ms``, and ``0``."""

    def parse(text: str) -> float:
        found = _DURATION.fullmatch(text.strip())
        if found is None:
            return number(0, 0)(text)
        seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
        if not minimum <= seconds <= maximum:
            raise ValueError(text)
        return seconds

    return parse


def count(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser of integers within bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not minimum <= value <= maximum:
            raise ValueError(text)
        return value

    return parse


def optional(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    """Return a parser that also accepts an empty text, as ``None``."""
    return lambda text: parse(text) if text else None


def limit(text: str) -> int | None:
    """Parse a span limit of the OpenTelemetry SDK specification; empty: no limit."""
    return count(0, 1 << 31)(text) if text else None


def name_list(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of comma-separated names, each once; ``none`` must be alone."""

    def parse(text: str) -> tuple[str, ...]:
        return _known((part.lower() for part in _parts(text)), frozenset(allowed))

    return parse


def patterns(text: str) -> tuple[str, ...]:
    """Parse comma-separated regular expressions."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in parts:
            try:
                re.compile(part)
            # Python warns of a pattern that a later version may interpret differently: "[[".
            except (re.error, OverflowError, Warning) as error:
                raise ExplainedError(f"{part!r}: {error}") from error
    return parts


def propagators(text: str) -> tuple[str, ...]:
    """Parse names of installed propagators (entry points of the OpenTelemetry API), or ``none``."""
    return _known(_parts(text), PROPAGATORS, "opentelemetry_propagator")


def detectors(text: str) -> tuple[str, ...]:
    """Parse names of installed detectors of resources (entry points of the SDK), or ``*``."""
    return _known(_parts(text), DETECTORS, "opentelemetry_resource_detector")


def sampler(text: str) -> str:
    """Parse the name of a standard sampler, or of one that is installed as an entry point."""
    name = text.strip()
    if name.lower() in SAMPLERS:
        return name.lower()
    if name not in _installed("opentelemetry_traces_sampler"):
        raise ValueError(text)
    return name


def opt_in(text: str) -> str:
    """Parse ``OTEL_SEMCONV_STABILITY_OPT_IN``: ``http/dup`` takes precedence over ``http``, other
    values concern other areas (semantic conventions, HTTP, stability migration)."""
    parts = opt_ins(text)
    return "both" if "http/dup" in parts else "stable" if "http" in parts else "old"


def opt_ins(text: str) -> frozenset[str]:
    """Return the values in ``OTEL_SEMCONV_STABILITY_OPT_IN``."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


def secret_key(text: str) -> str:
    """Check a key of hashes, or an empty text."""
    if text and not (8 <= len(text) <= 64 and text.isprintable() and text.isascii()):
        raise ValueError("not a key")
    return _own_secret(text)


def _own_secret(text: str) -> str:
    """Refuse the placeholder of an example, which is public."""
    if re.search(r"change.?me|change.?this|placeholder|your.?(?:token|key|secret)", text.lower()):
        raise ExplainedError("a placeholder is no secret")
    return text


def headers(text: str) -> Pairs:
    """Parse ``key=value`` pairs (OTLP exporter specification): W3C Baggage without metadata."""
    pairs = attributes(text)
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", key, re.ASCII) for key, _ in pairs):
        raise ValueError("not a header name")
    if not all(value.isprintable() and value.isascii() for _, value in pairs):
        raise ValueError("not a header value")
    return pairs


def file(text: str) -> str:
    """Check the path of a readable file, or an empty text."""
    if text:
        try:
            with Path(text).open("rb"):
                return text
        except OSError as error:
            raise ValueError(text) from error
    return text


def hosts(text: str) -> tuple[str, ...]:
    """Parse comma-separated host names; ``*`` is any."""
    parts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not all(re.fullmatch(r"\*|[\w.:-]+", part, re.ASCII) for part in parts):
        raise ValueError(text)
    return parts


def switched_off(*names: str) -> Callable[[str], frozenset[str]]:
    """Return a parser of disabled names: ``all`` disables none, ``none`` all, ``-NAME`` one."""

    def parse(text: str) -> frozenset[str]:
        parts = {part.strip().lower() for part in text.split(",")} - {"", "all"}
        if parts == {"none"}:
            return frozenset(names)
        if not all(part[:1] == "-" and part[1:] in names for part in parts):
            raise ValueError(text)
        return frozenset(part[1:] for part in parts)

    return parse


def named_of(*names: str) -> Callable[[str], frozenset[str]]:
    """Return a parser that keeps the known names of a list; ``*`` is all of them."""

    def parse(text: str) -> frozenset[str]:
        parts = {part.lower() for part in _parts(text)}
        return frozenset(names) if "*" in parts else frozenset(names) & parts

    return parse


def sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(part) for part in text.split(",")}))
    if not all(0 < size <= 65_535 for size in sizes) or len(sizes) > 100:
        raise ValueError(text)
    return sizes


def networks(text: str) -> tuple[Network, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    parsed = tuple(ip_network(part, strict=False) for part in parts)
    faults = [
        f"{part} has host bits set: {network} is the network, {address} that address alone"
        for part, network in zip(parts, parsed, strict=True)
        if (address := ip_interface(part).ip) != network.network_address
    ]
    if faults:
        raise ExplainedError("; ".join(faults))
    return parsed


def allow(text: str) -> Allow:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    addresses = ",".join(part for part in parts if part.lower() != "unix")
    return Allow(networks(addresses), "unix" in map(str.lower, parts))


def token(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", text):
        raise ValueError("not a bearer token")
    return _own_secret(text)


def host_port(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, colon, port = text.strip().rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 0 < int(port) <= 65_535:
        raise ValueError(text)
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[\w.-]*", host, re.ASCII):
        raise ValueError(text)
    return host.strip("[]"), int(port)


def host(text: str) -> str:
    """Parse the host of an address to listen on."""
    host_port(f"{text}:1" if text.count(":") < 2 or text.startswith("[") else f"[{text}]:1")
    return text.strip().strip("[]")


# A name or an address, and a port. No user name, because its password would be logged.
_NETLOC = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\])(?::[0-9]+)?")


_TARGET = re.compile(_NETLOC.pattern.removesuffix("?"))


def url(text: str) -> str:
    url = urlsplit(text.strip())
    if text and (url.scheme not in ("http", "https") or not _NETLOC.fullmatch(url.netloc)):
        raise ValueError("not an endpoint")
    if url.port == 0:  # the property raises ValueError for an invalid port
        raise ValueError("invalid port")
    return url.geturl()


def endpoint(text: str) -> str:
    """Parse a URL, or ``host:port`` (gRPC)."""
    target = text.strip()
    if _TARGET.fullmatch(target):
        url(f"http://{target}")  # raises for an invalid port
        return target
    return url(text)


def attributes(text: str) -> tuple[tuple[str, str], ...]:
    # OpenTelemetry resource SDK specification: W3C Baggage without metadata.
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError(text)
    return tuple((unquote(key.strip()), unquote(value.strip())) for key, _, value in pairs)


def _parts(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def _known(parts: Iterable[str], names: frozenset[str], group: str = "") -> tuple[str, ...]:
    """Return the parts, each once.

    Args:
        parts: the names.
        names: the names that are allowed.
        group: the group of entry points whose names are allowed, too, if any.

    Raises:
        UnknownNamesError: a part is unknown, or ``none`` is not alone.
    """
    given = tuple(dict.fromkeys(parts))
    # Only where a name is not standard: the lookup imports 2.5 MB and reads the disk.
    allowed = names | _installed(group) if group and not names.issuperset(given) else names
    known = tuple(each for each in given if each in allowed)
    if len(known) > 1:
        known = tuple(each for each in known if each != "none")
    if known != given:
        raise UnknownNamesError(known)
    return known


@lru_cache(maxsize=4)  # a worker parses the settings again, and must not read the disk for that
def _installed(group: str) -> frozenset[str]:
    from importlib.metadata import entry_points

    return frozenset(point.name for point in entry_points(group=group))
