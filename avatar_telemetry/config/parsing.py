"""How the text of a variable becomes a value: each function raises ``ValueError`` (or ``KeyError``)
for what is not allowed.
"""

from __future__ import annotations

import ast
import re
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
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
"""The standard values of ``OTEL_TRACES_SAMPLER`` that need no package of their own."""


class ExplainedError(ValueError):
    """A text that is not allowed; the message tells an operator why."""


class UnknownWordsError(ValueError):
    """A list of which some words are not allowed.

    Args:
        known: the others, as a value; empty where there is none.
    """

    def __init__(self, known: tuple[str, ...]) -> None:
        super().__init__("unknown words")
        self.known = known


@dataclass(frozen=True)
class Allow:
    """Callers or peers that are allowed something.

    Args:
        networks: addresses that are.
        unix: whether a peer on a unix socket is.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def holds(self, address: str) -> bool:
        """Whether an address is among them. An empty one is that of a peer on a unix socket, as
        gunicorn says it; what is no address is not."""
        if not address:
            return self.unix
        found = ip(address)
        return found is not None and any(found in network for network in self.networks)


def ip(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, without port. Never raises.

    Returns:
        An IPv4-mapped IPv6 address as the IPv4 address that it is (RFC 4291, section 2.5.5.2), and
        without its zone; ``None`` for anything else.
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
    """The name of a host; empty: of this one."""
    return text(name) or socket.gethostname()


def boolean(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    return words[text.strip().lower()]


def truth(text: str) -> bool:
    """``true`` or ``false`` in any case, and no other word (OpenTelemetry specification)."""
    return {"true": True, "false": False}[text.strip().lower()]


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(word)
        return word

    return parse


def reference(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text):
        raise ValueError(text)
    return text


def application(text: str) -> str:
    """``module:NAME``, or a call of that with literal arguments."""
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


def number(least: float, most: float) -> Callable[[str], float]:
    """A parser of numbers within bounds."""

    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def count(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def optional(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    """A parser that takes an empty text for nothing."""
    return lambda text: parse(text) if text else None


def limit(text: str) -> int | None:
    """A span limit of the OpenTelemetry SDK specification; empty: none."""
    return count(0, 1 << 31)(text) if text else None


def words(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    """A parser of comma-separated words, each once, in the order given; ``none`` stands alone."""

    def parse(text: str) -> tuple[str, ...]:
        return _known((part.lower() for part in _parts(text)), frozenset(allowed))

    return parse


def patterns(text: str) -> tuple[str, ...]:
    """Comma-separated regular expressions."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in parts:
            try:
                re.compile(part)
            # A pattern whose meaning a later Python may change, such as "[[", is warned of.
            except (re.error, OverflowError, Warning) as error:
                raise ExplainedError(f"{part!r}: {error}") from error
    return parts


def propagators(text: str) -> tuple[str, ...]:
    """Names of installed propagators (entry points of the OpenTelemetry API), or ``none``."""
    return _known(_parts(text), _installed("opentelemetry_propagator") | {"none"})


def detectors(text: str) -> tuple[str, ...]:
    """Names of installed resource detectors (entry points of the OpenTelemetry SDK), or ``*``."""
    return _known(_parts(text), _installed("opentelemetry_resource_detector") | {"*"})


def sampler(text: str) -> str:
    """A standard sampler, or one that is installed as an entry point."""
    name = text.strip()
    if name.lower() in SAMPLERS:
        return name.lower()
    if name not in _installed("opentelemetry_traces_sampler"):
        raise ValueError(text)
    return name


def opt_in(text: str) -> str:
    """``OTEL_SEMCONV_STABILITY_OPT_IN``: ``http/dup`` wins over ``http``, other words mean other
    signals (semantic conventions, HTTP, stability migration)."""
    parts = opt_ins(text)
    return "both" if "http/dup" in parts else "stable" if "http" in parts else "old"


def opt_ins(text: str) -> frozenset[str]:
    """The words of ``OTEL_SEMCONV_STABILITY_OPT_IN``."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


def secret_key(text: str) -> str:
    """A key for hashes, or an empty text."""
    if text and not (8 <= len(text) <= 64 and text.isprintable() and text.isascii()):
        raise ValueError("not a key")
    return text


def headers(text: str) -> Pairs:
    """``key=value`` pairs (OTLP exporter specification): W3C Baggage without metadata."""
    pairs = attributes(text)
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", key, re.ASCII) for key, _ in pairs):
        raise ValueError("not a header name")
    if not all(value.isprintable() and value.isascii() for _, value in pairs):
        raise ValueError("not a header value")
    return pairs


def file(text: str) -> str:
    """A file that can be read, or an empty text."""
    if text:
        try:
            with Path(text).open("rb"):
                return text
        except OSError as error:
            raise ValueError(text) from error
    return text


def hosts(text: str) -> tuple[str, ...]:
    """Comma-separated host names; ``*`` is any."""
    parts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not all(re.fullmatch(r"\*|[\w.:-]+", part, re.ASCII) for part in parts):
        raise ValueError(text)
    return parts


def switched_off(*names: str) -> Callable[[str], frozenset[str]]:
    """A parser of what is switched off: ``all`` leaves all on, ``none`` none, ``-name`` one out."""

    def parse(text: str) -> frozenset[str]:
        parts = {part.strip().lower() for part in text.split(",")} - {"", "all"}
        if parts == {"none"}:
            return frozenset(names)
        if not all(part[:1] == "-" and part[1:] in names for part in parts):
            raise ValueError(text)
        return frozenset(part[1:] for part in parts)

    return parse


def named_of(*names: str) -> Callable[[str], frozenset[str]]:
    """A parser of names of which some mean something here; ``*`` is all."""

    def parse(text: str) -> frozenset[str]:
        parts = {part.lower() for part in _parts(text)}
        return frozenset(names) if "*" in parts else frozenset(names) & parts

    return parse


def sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(sorted({int(word) for word in text.split(",")}))
    if not all(0 < size <= 65_535 for size in sizes) or len(sizes) > 100:
        raise ValueError(text)
    return sizes


def networks(text: str) -> tuple[Network, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    parsed = tuple(ip_network(word, strict=False) for word in words)
    faults = [
        f"{word} has host bits set: {network} is the network, {address} that address alone"
        for word, network in zip(words, parsed, strict=True)
        if (address := ip_interface(word).ip) != network.network_address
    ]
    if faults:
        raise ExplainedError("; ".join(faults))
    return parsed


def allow(text: str) -> Allow:
    parts = [word.strip() for word in text.split(",") if word.strip()]
    addresses = ",".join(word for word in parts if word.lower() != "unix")
    return Allow(networks(addresses), "unix" in map(str.lower, parts))


def token(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", text):
        raise ValueError("not a bearer token")
    return text


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
    """The host of an address to listen on."""
    host_port(f"{text}:1" if text.count(":") < 2 or text.startswith("[") else f"[{text}]:1")
    return text.strip().strip("[]")


# A name or an address, and a port; no user, whose password would be shown.
_NETLOC = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\])(?::[0-9]+)?")


_TARGET = re.compile(_NETLOC.pattern.removesuffix("?"))


def url(text: str) -> str:
    url = urlsplit(text.strip())
    if text and (url.scheme not in ("http", "https") or not _NETLOC.fullmatch(url.netloc)):
        raise ValueError("not an endpoint")
    if url.port == 0:  # asking raises ValueError for one that is none
        raise ValueError("no port")
    return url.geturl()


def endpoint(text: str) -> str:
    """A URL, or ``host:port`` as gRPC takes it."""
    target = text.strip()
    if _TARGET.fullmatch(target):
        url(f"http://{target}")  # raises for a port that is none
        return target
    return url(text)


def attributes(text: str) -> tuple[tuple[str, str], ...]:
    # The form of the OpenTelemetry resource SDK specification: W3C Baggage without metadata.
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError(text)
    return tuple((unquote(key.strip()), unquote(value.strip())) for key, _, value in pairs)


def _parts(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def _known(parts: Iterable[str], allowed: frozenset[str]) -> tuple[str, ...]:
    """The parts, each once, if all are allowed together."""
    given = tuple(dict.fromkeys(parts))
    known = tuple(each for each in given if each in allowed)
    if len(known) > 1:
        known = tuple(each for each in known if each != "none")
    if known != given:
        raise UnknownWordsError(known)
    return known


@lru_cache(maxsize=4)  # a worker reads the settings again, and must not read the disk for it
def _installed(group: str) -> frozenset[str]:
    return frozenset(point.name for point in entry_points(group=group))
