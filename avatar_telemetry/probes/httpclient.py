"""Probe of ``http.client`` used directly: from the request line to the head of the response.

A call without a response is not counted where the connection is used again before it is closed.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes import propagation
from avatar_telemetry.probes.outside import Target, begin, status_attribute
from avatar_telemetry.probes.patching import Call, surround, when_imported
from avatar_telemetry.probes.propagation import CALL

_status = status_attribute("status")


def install() -> None:
    """Observe the requests and responses of connections."""
    propagation.install()
    when_imported("http.client", _patch)


def _patch(module: ModuleType) -> None:
    connection = module.HTTPConnection
    surround(connection, "putrequest", _around_putrequest)
    surround(connection, "send", _around_send)
    surround(connection, "getresponse", _around_getresponse)
    surround(connection, "close", _around_close)


def _around_putrequest(original: Call) -> Call:
    def putrequest(self: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, method, url, *args, **kwargs)
        call = begin("httpclient", _describe, _status, self, method, url)
        if call is not None:
            setattr(self, CALL, call)
        return result

    return putrequest


def _around_send(original: Call) -> Call:
    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except BaseException as error:
            _finish(self, error)
            raise

    return send


def _around_getresponse(original: Call) -> Call:
    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = vars(self).pop(CALL, None)
        if call is None:
            return original(self, *args, **kwargs)
        try:
            response = original(self, *args, **kwargs)
        except BaseException as error:
            call.close(error)
            raise
        call.status = _status(response)
        call.close()
        return response

    return getresponse


def _around_close(original: Call) -> Call:
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        _finish(self, None)
        return original(self, *args, **kwargs)

    return close


def _finish(connection: Any, error: BaseException | None) -> None:
    call = getattr(connection, "__dict__", {}).pop(CALL, None)
    if call is not None:
        call.close(error)


def _describe(connection: Any, method: str, url: str) -> Target:
    host = getattr(connection, "_tunnel_host", None) or connection.host
    scheme = "https" if connection.default_port == 443 else "http"
    whole = url if "://" in url else f"{scheme}://{host}:{connection.port}{url}"
    return Target(host, method, whole)
