"""Probe of ``httpx``: every client, also asynchronous ones; redirects are part of one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.outside import (
    IN_CALL,
    Target,
    begin,
    call_outside,
    status_attribute,
    target,
)
from avatar_telemetry.probes.patching import Call, Versions, surround, when_imported
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.propagation import context_headers

SUPPORTED = Versions((0, 24), (1, 0))

_status = status_attribute("status_code")


def install() -> None:
    """Observe ``send`` of both clients, and the requests of their transports."""
    when_imported("httpx", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    surround(module, "Client.send", _around_send)
    surround(module, "AsyncClient.send", _around_async_send)
    surround(module, "HTTPTransport.handle_request", _around_handle)
    surround(module, "AsyncHTTPTransport.handle_async_request", _around_handle)


def _around_send(original: Call) -> Call:
    def send(*args: Any, **kwargs: Any) -> Any:
        return call_outside("httpx", _describe, _status, original, *args, **kwargs)

    return send


def _around_async_send(original: Call) -> Call:
    async def send(*args: Any, **kwargs: Any) -> Any:
        outside = begin("httpx", _describe, _status, *args, **kwargs)
        if outside is None:
            return await original(*args, **kwargs)
        with outside:
            result = await original(*args, **kwargs)
            outside.status = _status(result)
            return result

    return send


def _around_handle(original: Call) -> Call:
    """Return a method that passes a copy of the request with our headers to the transport.

    The copy is needed because httpx reuses the headers of a request after a redirect.
    """

    def handle(self: Any, request: Any) -> Any:
        if POLICY.propagate_to:
            try:
                request = _with_context(request)
            except Exception:  # noqa: BLE001 - the call continues without our headers
                POLICY.guard.failed("probe_propagation")
        return original(self, request)

    return handle


def _with_context(request: Any) -> Any:
    headers = context_headers(request.url.host, IN_CALL.get())
    ours = {name: value for name, value in headers.items() if name not in request.headers}
    if ours:
        # copy.copy() uses the pickled state, which has no stream.
        copy = object.__new__(type(request))
        vars(copy).update(vars(request), headers=request.headers.copy())
        copy.headers.update(ours)
        return copy
    return request


def _describe(client: Any, request: Any, **kwargs: Any) -> Target | None:
    return target(request.method, str(request.url))
