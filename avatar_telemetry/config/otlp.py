"""OTLP settings of one signal (specification of the OTLP exporter).

Each variable exists for all signals (``OTEL_EXPORTER_OTLP_TIMEOUT``) and for one of them
(``OTEL_EXPORTER_OTLP_TRACES_TIMEOUT``), which takes precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from avatar_telemetry.config import parsing
from avatar_telemetry.config.parsing import Pairs
from avatar_telemetry.config.variable import Setting

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
PREFIX = "OTEL_EXPORTER_OTLP_"
HTTP, GRPC = "http/protobuf", "grpc"
HTTP_PORT, GRPC_PORT = 4318, 4317
PROTOCOL, COMPRESSION = PREFIX + "PROTOCOL", PREFIX + "COMPRESSION"


@dataclass(frozen=True)
class Otlp:
    """The OTLP settings of one signal.

    Args:
        endpoint: the URL; for HTTP with the path of the signal.
        protocol: ``http/protobuf`` or ``grpc``; empty if unset.
        headers: the headers of every request.
        timeout: the seconds for one batch, retries included.
        compression: ``none``, ``gzip`` or ``deflate``.
        certificate: the file with the trusted certificates, or empty.
        client_key: the file with the key of the client certificate, or empty.
        client_certificate: the file with the client certificate, or empty.
        endpoint_from: the variable that set the endpoint; empty for the default.
    """

    endpoint: str
    protocol: str
    headers: Pairs = field(repr=False)
    timeout: float
    compression: str
    certificate: str
    client_key: str
    client_certificate: str
    endpoint_from: str = ""

    @property
    def place(self) -> str:
        """The endpoint without its query, which may contain a key, for messages."""
        return urlunsplit((*urlsplit(self.endpoint)[:3], "", ""))


_KINDS: Mapping[str, tuple[Any, str, str, str]] = {
    "endpoint": (
        parsing.endpoint, "",
        "an http or https URL without user name; with gRPC, host:port, too", "OTLP collector",
    ),
    "protocol": (parsing.one_of(HTTP, GRPC, ""), "", f"{HTTP} or {GRPC}", "protocol"),
    "headers": (parsing.headers, "", "key=value pairs, comma-separated", "headers of each request"),
    "timeout": (parsing.number(0.1, 300), "10", "seconds from 0.1 to 300", "time for a batch"),
    "compression": (
        parsing.one_of("none", "gzip", "deflate"), "none", "none, gzip or deflate", "compression",
    ),
    "certificate": (parsing.file, "", "a readable file", "trusted certificates (PEM)"),
    "insecure": (
        parsing.truth, "false", "true or false",
        "no TLS for an endpoint without http:// or https:// (gRPC)",
    ),
    "client_key": (parsing.file, "", "a readable file", "key of the client's certificate (PEM)"),
    "client_certificate": (parsing.file, "", "a readable file", "client's certificate (PEM)"),
}  # fmt: skip


def _setting(kind: str, signal: Signal | None) -> Setting:
    parse, default, allowed, meaning = _KINDS[kind]
    shared = PREFIX + kind.upper()
    return Setting(
        f"{PREFIX}{signal.upper()}_{kind.upper()}" if signal else shared,
        parse, default, allowed,
        f"OTLP: {meaning}" + (f", for {signal} only." if signal else "."),
        alias=shared if signal else "",
        secret=kind == "headers",
        lenient=kind in ("protocol", "timeout", "compression", "insecure"),
    )  # fmt: skip


OTLP_SETTINGS: Mapping[Signal | None, Mapping[str, Setting]] = {
    signal: {kind: _setting(kind, signal) for kind in _KINDS} for signal in (None, *SIGNALS)
}
"""The variables by signal (``None``: those for all signals) and by field of :class:`Otlp`."""


def otlp(signal: Signal, values: Mapping[str, Any], *, own_endpoint: bool) -> Otlp:
    """Build the settings of a signal from its parsed variables.

    Args:
        signal: the signal.
        values: the value of each field.
        own_endpoint: whether the endpoint is that of the signal, which is used unchanged
            (specification of the OTLP exporter, "Endpoint URLs for OTLP/HTTP").
    """
    insecure, values = values["insecure"], {k: v for k, v in values.items() if k != "insecure"}
    result = Otlp(**values)
    scheme, address, path, *rest = urlsplit(_complete(result, insecure))
    if result.protocol != GRPC and not own_endpoint:
        path = f"{path.rstrip('/')}/v1/{signal}"
    named_by = _setting("endpoint", signal if own_endpoint else None).variable
    return replace(
        result,
        endpoint=urlunsplit((scheme, address, path, *rest)),
        endpoint_from=named_by if result.endpoint else "",
    )


def _complete(otlp: Otlp, insecure: bool) -> str:
    """Return the endpoint as a URL: the default of the protocol if it is unset, and with a scheme
    if it has none (gRPC; specification of the OTLP exporter, "Endpoint" and "Insecure")."""
    if not otlp.endpoint:
        return f"http://localhost:{GRPC_PORT if otlp.protocol == GRPC else HTTP_PORT}"
    if "://" in otlp.endpoint:
        return otlp.endpoint
    return f"{'http' if insecure else 'https'}://{otlp.endpoint}"


def resolve(signal: Signal, configured: Otlp, *, grpc_installed: bool) -> tuple[Otlp, str]:
    """Determine the protocol, and the port that goes with it.

    Port 4317 is assigned to gRPC (IANA; specification of the OTLP exporter). If the protocol is
    unset and the endpoint has that port, gRPC is used; if gRPC is not installed, HTTP and port 4318
    of the same host, which the same specification assigns to it. A protocol that is set is used.

    Args:
        signal: the signal; its path is added for HTTP if the endpoint has none.
        configured: the settings from the variables.
        grpc_installed: whether the exporter for gRPC is installed.

    Returns:
        The final settings, and a line for the operator or an empty text.
    """
    parts = urlsplit(configured.endpoint)
    if parts.port != GRPC_PORT:
        return replace(configured, protocol=configured.protocol or HTTP), ""
    if configured.protocol == GRPC:
        return configured, ""
    here = f"{parts.scheme}://{parts.netloc}"
    if configured.protocol == HTTP:
        return configured, f"{here} has the port of gRPC; {HTTP} is used, as set by {PROTOCOL}"
    if grpc_installed:
        return (
            replace(configured, protocol=GRPC, endpoint=here),
            f"{here} has the port of gRPC, so gRPC is used (set {PROTOCOL}={HTTP} to use HTTP)",
        )
    there = parts.netloc.removesuffix(str(GRPC_PORT)) + str(HTTP_PORT)
    path = parts.path.rstrip("/") or f"/v1/{signal}"
    return (
        replace(
            configured, protocol=HTTP, endpoint=urlunsplit((parts.scheme, there, path, "", ""))
        ),
        f"{here} has the port of gRPC, which is not installed: {HTTP} is sent to"
        f" {parts.scheme}://{there} instead (set {PROTOCOL}={HTTP} to keep the port, or install"
        " gRPC with pip install 'avatar-telemetry[grpc]')",
    )
