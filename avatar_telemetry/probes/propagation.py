"""Trace context in the headers of calls, only to hosts that the operator names.

It is added where a library passes its headers on: each hop of a redirect is checked by its own
host, so that no other host gets the context.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace

from avatar_telemetry.probes.outside import IN_CALL, OutsideCall
from avatar_telemetry.probes.patching import Call, surround, when_imported
from avatar_telemetry.probes.policy import POLICY

CALL = "_avatar_telemetry_call"
"""The attribute of an ``http.client`` connection with the call in progress."""


def context_headers(host: str, call: OutsideCall | None) -> dict[str, str]:
    """Return the headers with the trace context for a host; none where it is not named.

    Args:
        host: the host name.
        call: the call whose span is the parent, or ``None`` for the current span.
    """
    carrier: dict[str, str] = {}
    if POLICY.propagate_to and POLICY.propagates_to(host):
        context = None
        if call is not None and call.span is not trace.INVALID_SPAN:
            context = trace.set_span_in_context(call.span)
        # Not at the top: it reads OTEL_PROPAGATORS at its import, and raises for an unknown name.
        from opentelemetry import propagate

        propagate.inject(carrier, context)
    return carrier


def install() -> None:
    """Observe the end of the headers in ``http.client``, below urllib, requests and urllib3."""
    when_imported("http.client", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "HTTPConnection.endheaders", _around_endheaders)


def _around_endheaders(original: Call) -> Call:
    def endheaders(self: Any, *args: Any, **kwargs: Any) -> Any:
        if POLICY.propagate_to:
            try:
                _put_headers(self)
            except Exception:  # noqa: BLE001 - the call continues without our headers
                POLICY.guard.failed("probe_propagation")
        return original(self, *args, **kwargs)

    return endheaders


def _put_headers(connection: Any) -> None:
    line, *there = connection._buffer
    names = {header.partition(b":")[0].lower() for header in there}
    call = IN_CALL.get() or getattr(connection, CALL, None)
    for name, value in context_headers(_host(connection, line), call).items():
        if name.lower().encode() not in names:
            connection.putheader(name, value)


def _host(connection: Any, line: bytes) -> str:
    """Return the host that receives the headers: behind a proxy, not the connected one."""
    url = line.split(b" ")[1].decode("latin-1")
    whole = urlsplit(url).hostname if url.startswith(("http:", "https:")) else None
    return str(whole or getattr(connection, "_tunnel_host", None) or connection.host)
