"""The metrics page: families as text, and access to it.

Text format 0.0.4 (Prometheus exposition formats) and OpenMetrics 1.0, by ``Accept``; gzip by
``Accept-Encoding``.
"""

from __future__ import annotations

import gzip
import hmac
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.parsing import Allow
from avatar_telemetry.http.environ import text
from avatar_telemetry.metrics.family import Exemplar, Family, line_prefix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# A proxy adds one of these headers: the sender of the request is then not the peer.
FORWARDING = frozenset((
    "HTTP_VIA", "HTTP_CDN_LOOP", "HTTP_FRONT_END_HTTPS", "HTTP_X_SCHEME", "HTTP_X_REAL_IP",
    "HTTP_X_CLIENT_IP", "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_X_ENVOY_EXTERNAL_ADDRESS",
    "HTTP_X_AZURE_CLIENTIP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP", "HTTP_FLY_CLIENT_IP",
    "HTTP_FASTLY_CLIENT_IP",
))  # fmt: skip
# These have many suffixes: -For, -Proto, -Host, but also -Ssl, -Protocol, -Prefix alone.
FORWARDING_PREFIXES = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_ORIGINAL")
GZIP_LEVEL = 1
MAX_CACHED_ADDRESSES = 1024


class Access:
    """The access to the metrics.

    Args:
        allow: the networks, and whether unix sockets are allowed.
        token: the bearer token that any client may use, or an empty text.
    """

    def __init__(self, allow: Allow, token: str) -> None:
        self._allows = lru_cache(MAX_CACHED_ADDRESSES)(allow.holds)
        self._token = token.encode()

    def permits(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request may read the metrics. Never raises."""
        return self._has_token(environ) or (
            not any(map(_is_forwarding, environ)) and self._allows(text(environ.get("REMOTE_ADDR")))
        )

    def _has_token(self, environ: WSGIEnvironment) -> bool:
        scheme, _, token = text(environ.get("HTTP_AUTHORIZATION")).partition(" ")
        given = token.strip().encode("utf-8", "replace")
        return (
            bool(self._token)
            and scheme.lower() == "bearer"
            and hmac.compare_digest(given, self._token)
        )


def _is_forwarding(key: str) -> bool:
    return isinstance(key, str) and (key in FORWARDING or key.startswith(FORWARDING_PREFIXES))


class Variant(NamedTuple):
    """A variant of the page.

    Args:
        openmetrics: true for OpenMetrics, false for the text format 0.0.4.
        gzip: true for a compressed page.
    """

    openmetrics: bool
    gzip: bool


class MetricsPage:
    """A WSGI application whose response to every GET or HEAD is the metrics.

    Args:
        collect: a function that returns the families.
        guard: the guard that counts failures of that function; the response is then 503.
    """

    def __init__(self, collect: Callable[[], Iterable[Family]], guard: Guard) -> None:
        self._collect = collect
        self._guard = guard

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        variant = negotiate(environ)
        try:
            body = self.content(variant)
        except Exception:  # noqa: BLE001 - a fault of the page must not end a worker
            self._guard.failed("scrape")
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []
        headers = [
            ("Content-Type", OPENMETRICS if variant.openmetrics else TEXT),
            ("Vary", "Accept, Accept-Encoding"),
            ("Content-Length", str(len(body))),
        ]
        if variant.gzip:
            headers.append(("Content-Encoding", "gzip"))
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def content(self, variant: Variant) -> bytes:
        """Return the page.

        Raises:
            Exception: the families cannot be collected.
        """
        body = render(self._collect(), openmetrics=variant.openmetrics)
        return gzip.compress(body, GZIP_LEVEL, mtime=0) if variant.gzip else body


def negotiate(environ: WSGIEnvironment) -> Variant:
    """Return the variant of the page that a client prefers (RFC 9110, section 12.5)."""
    parser = load_parser()
    return Variant(
        _prefers_openmetrics(parser, _header(environ, "HTTP_ACCEPT")),
        _accepts_gzip(parser, _header(environ, "HTTP_ACCEPT_ENCODING")),
    )


def _header(environ: WSGIEnvironment, key: str) -> str | None:
    return text(environ[key]) if key in environ else None


@cache
def load_parser() -> ModuleType:
    """Import WebOb's parser of Accept headers, only where a page is served to clients: it takes
    4 MB, which the exporter without a port of its own saves.

    WebOb imports ``cgi``, whose deprecation is an error with ``-W error``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from webob import acceptparse
    return acceptparse  # type: ignore[no-any-return]


def render(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """Write families as text.

    Args:
        families: the families, each name once.
        openmetrics: true for OpenMetrics, false for the text format 0.0.4.
    """
    header = _openmetrics_header if openmetrics else _text_header
    parts: list[str] = []
    for family in families:
        parts.append(header(family))
        lines = _lines(family.prefixes, family.values)
        if openmetrics:
            for number, exemplar in family.exemplars.items():
                lines[number] = f"{lines[number][:-1]} # {_exemplar(exemplar)}\n"
        parts += lines
    if openmetrics:
        parts.append("# EOF\n")
    # Texts that are not from the store, such as the resource, may have lone surrogates.
    return "".join(parts).encode("utf-8", "replace")


def _lines(prefixes: Sequence[str], values: Sequence[float]) -> list[str]:
    return [
        f"{prefix}{value!r}\n" if value - value == 0.0 else f"{prefix}{_special(value)}\n"
        for prefix, value in zip(prefixes, values, strict=True)
    ]


def _exemplar(exemplar: Exemplar) -> str:
    """Return an exemplar as text (OpenMetrics 1.0, "Exemplars")."""
    labels, value, time = exemplar
    text = line_prefix("", labels) if labels else "{} "
    text += repr(value) if value - value == 0.0 else _special(value)
    return text if time is None else f"{text} {time:.3f}"


def _special(value: float) -> str:
    if value != value:
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _text_header(family: Family) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    type_ = {"info": "gauge", "unknown": "untyped"}.get(family.type, family.type)
    text = family.documentation.replace("\\", "\\\\").replace("\n", "\\n")
    name = family.name + suffix
    return f"# HELP {name} {text}\n# TYPE {name} {type_}\n"


def _openmetrics_header(family: Family) -> str:
    text = family.documentation.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.type}\n"


def _prefers_openmetrics(parser: ModuleType, accept: str | None) -> bool:
    """Return whether OpenMetrics is named, and text is not preferred."""
    openmetrics = text = 0.0
    for full, quality, parameters, _ in parser.create_accept_header(accept).parsed or ():
        media_type = full.partition(";")[0].strip().lower()
        version = dict(parameters).get("version", "")
        if media_type == "application/openmetrics-text" and version in ("", "1.0.0"):
            openmetrics = max(openmetrics, quality)
        elif media_type in ("text/plain", "text/*", "*/*") and version in ("", "0.0.4"):
            text = max(text, quality)
    return bool(openmetrics) and openmetrics >= text


def _accepts_gzip(parser: ModuleType, accept_encoding: str | None) -> bool:
    header = parser.create_accept_encoding_header(accept_encoding)
    # WebOb accepts every encoding where the header is missing or invalid.
    is_valid = isinstance(header, parser.AcceptEncodingValidHeader)
    return is_valid and bool(header.acceptable_offers(["gzip"]))
