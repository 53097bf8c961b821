"""The response body on its way to the server: passed through, and its end noticed.

A class and not a generator, so that ``close()`` works before the first ``next()`` (PEP 3333: the
application's ``close()`` MUST be called whether the iteration ended or not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

from avatar_telemetry.wsgi.request import AvatarRequest


class Body:
    """A body that the application may still be making.

    The request in progress is set while the application's code runs, and only then, so that a
    server may iterate anywhere, in any thread.

    Args:
        iterable: what the application returned.
        request: the request it answers.
    """

    __slots__ = ("_iterable", "_next", "_request")

    def __init__(self, iterable: Iterable[bytes], request: AvatarRequest) -> None:
        self._iterable = iterable
        self._request = request
        self._next: Callable[[], bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        if self._next is None:
            self._next = self._run(iter, self._iterable).__next__
        return self

    def __next__(self) -> bytes:
        if self._next is None:
            iter(self)
        request = self._request
        entered = request.enter()
        try:
            chunk = self._next()  # type: ignore[misc]
        except StopIteration:
            request.finish()
            raise
        except BaseException as error:
            request.failed(error)
            raise
        finally:
            request.leave(entered)
        request.sending(chunk)
        return chunk

    def close(self) -> None:
        """The server is done with the body."""
        close = getattr(self._iterable, "close", None)
        try:
            if close is not None:
                self._run(close)
        finally:
            self._request.finish()

    def __del__(self) -> None:
        # A server that neither exhausts nor closes a body breaks PEP 3333; its request counts.
        self._request.finish()

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        entered = self._request.enter()
        try:
            return function(*args)
        except BaseException as error:
            if not self._request.finished:
                self._request.failed(error)
            raise
        finally:
            self._request.leave(entered)


class SizedBody(Body):
    """A body whose length is known: servers make a ``Content-Length`` of a single chunk."""

    __slots__ = ()

    _iterable: Any

    def __len__(self) -> int:
        return len(self._iterable)


class ListBody:
    """A finished list or tuple of chunks: no code of the application runs while it is sent.

    Args:
        chunks: what the application returned.
        request: the request it answers.
    """

    __slots__ = ("_chunks", "_request")

    def __init__(self, chunks: list[bytes] | tuple[bytes, ...], request: AvatarRequest) -> None:
        self._chunks = chunks
        self._request = request

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[bytes]:
        request = self._request
        for chunk in self._chunks:
            request.sending(chunk)
            yield chunk
        request.finish()

    def close(self) -> None:
        """The server is done with the body."""
        self._request.finish()

    def __del__(self) -> None:
        self._request.finish()


def observe_body(
    body: Iterable[bytes], request: AvatarRequest, file_wrapper: object
) -> Iterable[bytes]:
    """Wrap a body so that the end of the request is noticed.

    Args:
        body: what the application returned.
        request: the request it answers.
        file_wrapper: the server's ``wsgi.file_wrapper``, or ``None``.
    """
    kind = type(body)
    if kind is list or kind is tuple:
        if len(body) <= 1 and request.status:  # type: ignore[arg-type]
            # As with any last chunk: what is handed to the server has left the application.
            for chunk in body:
                request.sending(chunk)
            request.finish()
            return body
        return ListBody(body, request)  # type: ignore[arg-type]
    if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
        return _observe_file(body, request)
    return SizedBody(body, request) if isinstance(body, Sized) else Body(body, request)


def _observe_file(body: Iterable[bytes], request: AvatarRequest) -> Iterable[bytes]:
    """Keep the server's own file wrapper: only for an instance of it does it use sendfile.

    Its end is the call of ``close()``, which the server makes on the instance.
    """
    close = getattr(body, "close", None)

    def finish() -> None:
        try:
            if close is not None:
                close()
        finally:
            request.finish()

    request.note_first_byte()
    try:
        body.close = finish  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        request.finish()  # a wrapper written in C takes no attribute; the file is as good as sent
    return body
