"""Pass a response body to the server, and detect its end.

A body is a class and not a generator, so that ``close()`` works before the first ``next()`` (PEP
3333: the application's ``close()`` MUST be called whether the iteration ended or not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import count
from typing import TYPE_CHECKING, Any

from avatar_telemetry.wsgi.file_wrapper import observe_file, returned_by
from avatar_telemetry.wsgi.request import AvatarRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

END: Any = object()


class Body:
    """A body that the application may still be producing.

    The request in progress is set only while the application's code runs, so that a server may
    iterate in any thread.

    Args:
        iterable: the value that the application returned.
        request: the request of the body.
    """

    __slots__ = ("_counted", "_iterable", "_iterator", "_position", "_request")

    def __init__(self, iterable: Iterable[bytes], request: AvatarRequest) -> None:
        self._iterable = iterable
        self._request = request
        self._iterator: Iterator[bytes] | None = None
        self._position = self._counted = 0

    def __iter__(self) -> Iterator[bytes]:
        iterator: Iterator[bytes] = self._run(iter, self._iterable)
        if self._iterator is None:
            self._iterator = iterator
        elif self._iterator is not iterator:
            return self._repeat(iterator)
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            iter(self)
        request = self._request
        entered = request.enter()
        try:
            chunk = next(self._iterator)  # type: ignore[arg-type]
        except StopIteration:
            request.finish()
            raise
        except BaseException as error:
            request.failed(error)
            raise
        finally:
            request.leave(entered)
        self._position += 1
        if self._position > self._counted:
            self._counted = self._position
            request.sending(chunk)
        return chunk

    def close(self) -> None:
        """Close the body of the application, and finish the request."""
        close = getattr(self._iterable, "close", None)
        try:
            if close is not None:
                self._run(close)
        finally:
            self._request.finish()

    def __del__(self) -> None:
        # A server that neither exhausts nor closes a body violates PEP 3333; its request counts.
        self._request.finish()

    def _repeat(self, iterator: Iterator[bytes]) -> Iterator[bytes]:
        """Iterate again, as gevent does for a Content-Length, without finishing the request and
        without counting a chunk twice."""
        for position in count(1):
            chunk = self._run(next, iterator, END)
            if chunk is END:
                return
            if position > self._counted:
                self._counted = position
                self._request.sending(chunk)
            yield chunk

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        request = self._request
        entered = request.enter()
        try:
            return function(*args)
        except BaseException as error:
            if not request.finished:
                request.failed(error)
            raise
        finally:
            request.leave(entered)


class SizedBody(Body):
    """A body with a length: servers derive a ``Content-Length`` for a single chunk."""

    __slots__ = ()

    _iterable: Any

    def __len__(self) -> int:
        return len(self._iterable)


class ListBody:
    """A complete list or tuple of chunks: no code of the application runs while it is sent.

    Args:
        chunks: the value that the application returned.
        request: the request of the body.
    """

    __slots__ = ("_chunks", "_counted", "_iterated", "_request")

    def __init__(self, chunks: list[bytes] | tuple[bytes, ...], request: AvatarRequest) -> None:
        self._chunks = chunks
        self._request = request
        self._iterated = False
        self._counted = 0

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[bytes]:
        request = self._request
        is_first, self._iterated = not self._iterated, True
        for position, chunk in enumerate(self._chunks, 1):
            if position > self._counted:
                self._counted = position
                request.sending(chunk)
            yield chunk
        if is_first:
            request.finish()

    def close(self) -> None:
        """Close the body of the application, and finish the request."""
        self._request.finish()

    def __del__(self) -> None:
        self._request.finish()


def observe_body(
    body: Iterable[bytes], request: AvatarRequest, environ: WSGIEnvironment
) -> Iterable[bytes]:
    """Wrap a body to detect the end of the request.

    Args:
        body: the value that the application returned.
        request: the request of the body.
        environ: its WSGI environment.
    """
    kind = type(body)
    if kind is list or kind is tuple:
        if len(body) <= 1 and request.status:  # type: ignore[arg-type]
            # A chunk that was passed to the server has left the application.
            request.sending_all(body)
            return body
        return ListBody(body, request)  # type: ignore[arg-type]
    if returned_by(environ.get("wsgi.file_wrapper"), body):
        observe_file(body, request, environ)
        return body
    if isinstance(body, bytes):
        # uWSGI and bjoern send it as a whole, which PEP 3333 does not require of a server.
        request.sending(body)
        request.finish()
        return body
    return SizedBody(body, request) if isinstance(body, Sized) else Body(body, request)
