"""Where and how one signal leaves over OTLP, by the variables of the exporter's specification.

Each variable exists for all signals (``OTEL_EXPORTER_OTLP_TIMEOUT``) and for one of them
(``OTEL_EXPORTER_OTLP_TRACES_TIMEOUT``), which wins.
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
    """Where and how one signal is sent.

    Args:
        endpoint: URL; for HTTP the whole one, with the path of the signal.
        protocol: ``http/protobuf`` or ``grpc``; empty where nobody has said.
        headers: sent with every request.
        timeout: seconds for one batch, repetitions included.
        compression: ``none``, ``gzip`` or ``deflate``.
        certificate: file with the certificates that are trusted, or empty.
        client_key: file with the key of the client's certificate, or empty.
        client_certificate: file with the client's certificate, or empty.
        endpoint_from: the variable that named the endpoint; empty for the default.
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
        """The endpoint as it may be shown: a query, like a header, may hold a key."""
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
        "whether an endpoint without http:// or https:// is reached without TLS (gRPC alone)",
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
        f"OTLP: {meaning}" + (f", for {signal} alone." if signal else "."),
        alias=shared if signal else "",
        secret=kind == "headers",
        lenient=kind in ("protocol", "timeout", "compression", "insecure"),
    )  # fmt: skip


OTLP_SETTINGS: Mapping[Signal | None, Mapping[str, Setting]] = {
    signal: {kind: _setting(kind, signal) for kind in _KINDS} for signal in (None, *SIGNALS)
}
"""The variables by signal (``None``: of all signals) and by field of :class:`Otlp`."""


def otlp(signal: Signal, values: Mapping[str, Any], *, own_endpoint: bool) -> Otlp:
    """Put the parsed variables of a signal together.

    Args:
        signal: which.
        values: by field.
        own_endpoint: the endpoint is the signal's own, to be used as it is (specification of the
            OTLP exporter, "Endpoint URLs for OTLP/HTTP").
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
    """The endpoint as a URL: the default of the protocol where there is none, and a scheme where
    gRPC does without (specification of the OTLP exporter, "Endpoint" and "Insecure")."""
    if not otlp.endpoint:
        return f"http://localhost:{GRPC_PORT if otlp.protocol == GRPC else HTTP_PORT}"
    if "://" in otlp.endpoint:
        return otlp.endpoint
    return f"{'http' if insecure else 'https'}://{otlp.endpoint}"


def resolve(signal: Signal, told: Otlp, *, grpc_installed: bool) -> tuple[Otlp, str]:
    """Settle the protocol, and what to do about a port that speaks the other one.

    Port 4317 is gRPC's (IANA; specification of the OTLP exporter). Where nobody has named a
    protocol and the endpoint has that port, gRPC is what is meant; without the package for it, the
    same collector is asked on 4318 over HTTP, where it listens by the same rule. Who names a
    protocol is obeyed.

    Args:
        signal: which; its path is added for HTTP where the endpoint has none.
        told: as the variables say.
        grpc_installed: whether the exporter for gRPC is there.

    Returns:
        The settled value, and a line for the operator or an empty text.
    """
    parts = urlsplit(told.endpoint)
    if parts.port != GRPC_PORT:
        return replace(told, protocol=told.protocol or HTTP), ""
    if told.protocol == GRPC:
        return told, ""
    here = f"{parts.scheme}://{parts.netloc}"
    if told.protocol == HTTP:
        return told, f"{here} has the port of gRPC; {HTTP} is spoken there, as {PROTOCOL} says"
    if grpc_installed:
        return (
            replace(told, protocol=GRPC, endpoint=here),
            f"{here} has the port of gRPC, so gRPC is spoken ({PROTOCOL}={HTTP} would change that)",
        )
    there = parts.netloc.removesuffix(str(GRPC_PORT)) + str(HTTP_PORT)
    path = parts.path.rstrip("/") or f"/v1/{signal}"
    return (
        replace(told, protocol=HTTP, endpoint=urlunsplit((parts.scheme, there, path, "", ""))),
        f"{here} has the port of gRPC, which is not installed: {HTTP} is spoken to"
        f" {parts.scheme}://{there} instead ({PROTOCOL}={HTTP} keeps the port,"
        " pip install 'avatar-telemetry[grpc]' brings gRPC)",
    )
