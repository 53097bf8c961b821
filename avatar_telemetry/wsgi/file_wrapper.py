"""Support the server's ``wsgi.file_wrapper``: its response reaches the server unchanged.

A server uses ``sendfile`` only for an object that it recognises: an instance of its own class
(gunicorn, waitress, wsgiref), of a type in C (bjoern, mod_wsgi), or the object that its function
was called with (uWSGI), which need not be iterable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.wsgi.request import AvatarRequest

END_KEY = "avatar_telemetry.end"
"""Key in the environ of an object that is deleted when the server releases the environ."""


class WrapperFunction:
    """A file wrapper that is not a class, and the objects that it returned.

    Args:
        wrapper: the wrapper of the server.
    """

    def __init__(self, wrapper: Callable[..., Any]) -> None:
        self.original = wrapper
        self._returned: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.original(*args, **kwargs)
        self._returned.append(result)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def has_returned(self, body: object) -> bool:
        """Return whether a body is an object that this function returned."""
        return any(each is body for each in self._returned)


class End:
    """Finish a request when the server closes its file or deletes this object.

    Args:
        request: the request whose response is the file.
    """

    __slots__ = ("_close", "_file", "_of_class", "_request")

    def __init__(self, request: AvatarRequest) -> None:
        self._request = request
        self._file: Any = None
        self._close: Callable[[], Any] | None = None

    def __call__(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                self._restore(file)
            if self._close is not None:
                self._close()
        finally:
            self._request.finish()

    def __del__(self) -> None:
        self._request.finish()

    def take_close(self, file: Any) -> None:
        """Replace the ``close`` of a file by this object.

        Raises:
            AttributeError: the attribute cannot be set.
        """
        close = getattr(file, "close", None)
        self._of_class = "close" not in getattr(file, "__dict__", ("close",))
        file.close = self
        self._file, self._close = file, close

    def _restore(self, file: Any) -> None:
        """Restore the ``close`` of an object that the application may use again."""
        with suppress(AttributeError):
            if self._of_class:
                del file.close
            else:
                file.close = self._close


def watch_calls(environ: WSGIEnvironment, wrapper: Callable[..., Any]) -> None:
    """Replace a file wrapper that is not a class, to recognise the objects that it returns.

    Args:
        environ: the WSGI environment.
        wrapper: its file wrapper, which an earlier request may have replaced.
    """
    if isinstance(wrapper, WrapperFunction):
        wrapper = wrapper.original
    environ["wsgi.file_wrapper"] = WrapperFunction(wrapper)


def returned_by(wrapper: object, body: object) -> bool:
    """Return whether a body was made by the file wrapper of the server.

    Args:
        wrapper: ``wsgi.file_wrapper`` after the application's call, or ``None``.
        body: the value that the application returned.
    """
    if isinstance(wrapper, type):
        return isinstance(body, wrapper)
    return isinstance(wrapper, WrapperFunction) and wrapper.has_returned(body)


def observe_file(file: Any, request: AvatarRequest, environ: WSGIEnvironment) -> None:
    """Detect the end of a response that is an object of the server.

    This is the server's call of ``close()``. If that attribute cannot be replaced, as for a type in
    C, it is the release of the environ.

    Args:
        file: the object that the server's wrapper returned.
        request: the request of the file.
        environ: its WSGI environment.
    """
    request.note_first_byte()
    end = End(request)
    try:
        end.take_close(file)
    except (AttributeError, TypeError):
        environ[END_KEY] = end
