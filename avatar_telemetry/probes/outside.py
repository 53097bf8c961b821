"""What the probes of HTTP clients share: one count for a call, however the libraries nest."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from avatar_telemetry.request import CURRENT

NOT_FOUND = (404, 410)
_in_call: ContextVar[bool] = ContextVar("avatar_telemetry.outside_call", default=False)


def succeeded(status: int) -> bool:
    """Whether a service did its work. "There is no such picture" is an answer, too."""
    return 0 < status < 400 or status in NOT_FOUND


def call_outside(
    host: str | None,
    call: Callable[..., Any],
    status_of: Callable[[Any], int],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Make a call and tell the request in progress how it went.

    Args:
        host: that is called; ``None`` where the call does not leave over HTTP.
        call: the original; its result and its exceptions pass unchanged.
        status_of: status code of a result or of an exception, 0 where there is none.
    """
    request = CURRENT.get()
    if request is None or host is None or _in_call.get():
        return call(*args, **kwargs)
    token = _in_call.set(True)
    started = perf_counter()
    status = 0
    try:
        result = call(*args, **kwargs)
        status = status_of(result)
        return result
    except Exception as error:
        status = status_of(error)
        raise
    finally:
        _in_call.reset(token)
        request.outside_call(host, perf_counter() - started, success=succeeded(status))


def status_attribute(name: str) -> Callable[[Any], int]:
    """A reader of a status code that trusts nothing."""

    def read(result: Any) -> int:
        status = getattr(result, name, 0)
        return status if isinstance(status, int) else 0

    return read
