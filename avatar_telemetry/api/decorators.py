"""Spans that an application records itself: decorators and context managers.

    @trace_avatar_operation("generate_png")
    def draw(digest, size): ...

    with trace_file_upload("process") as span:
        span.set_attribute("photo.rotated", True)

They decorate functions, coroutines, generators and asynchronous generators, and do nothing if spans
are not recorded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Token
from functools import partial, wraps
from types import TracebackType
from typing import Any, TypeVar, cast

from opentelemetry import trace as trace_api
from opentelemetry.context import Context, attach, detach

from avatar_telemetry.http.semconv import FILE_NAMES
from avatar_telemetry.profiles.model import Kind
from avatar_telemetry.wsgi.request import CURRENT
from avatar_telemetry.wsgi.worker import WORKER

F = TypeVar("F", bound=Callable[..., Any])


class Operation:
    """An operation in progress, with its span. No method raises.

    Args:
        kind: the kind of the operation.
        name: the name of the span.
        operation: the name that the application gave.
    """

    def __init__(self, kind: Kind, name: str, operation: str) -> None:
        self._kind = kind
        self.span: trace_api.Span = trace_api.INVALID_SPAN
        self._context: Context | None = None
        telemetry = WORKER.telemetry()
        if telemetry is not None and telemetry.tracing is not None:
            with telemetry.guard.at("spans"):
                attributes = {"ivatar.request_type": kind, "ivatar.operation": operation}
                span = telemetry.tracing.tracer.start_span(name, attributes=attributes)
                self.span, self._context = span, trace_api.set_span_in_context(span)

    def enter(self) -> Token[Context] | None:
        """Make the span current, before code of the operation runs."""
        return None if self._context is None else attach(self._context)

    def leave(self, token: Token[Context] | None) -> None:
        """Restore the previous context, after code of the operation has run."""
        if token is not None:
            detach(token)

    def end(self, error: BaseException | None = None) -> None:
        """End the span.

        Args:
            error: the exception that passes to the caller; closing a generator is no error.
        """
        telemetry = WORKER.telemetry()
        if telemetry is None or not self.span.is_recording():
            return
        with telemetry.guard.at("spans"):
            self.span.set_attributes(self._request_attributes())
            if error is None or isinstance(error, GeneratorExit):
                self.span.end()
            else:
                self.span.__exit__(type(error), error, error.__traceback__)

    def _request_attributes(self) -> dict[str, Any]:
        """Return the attributes that follow from the request in progress."""
        request = CURRENT.get()
        if request is None or request.telemetry.tracing is None:
            return {}
        if self._kind == "avatar" and request.route.kind == "avatar":
            size = request.wanted_size()
            return {} if size is None else {"ivatar.avatar_size": size}
        if self._kind == "upload":
            values = request.telemetry.tracing.file(request.upload)
            file = zip(FILE_NAMES, values, strict=True)
            return {key: value for key, value in file if value is not None}
        return {}


class TracedOperation:
    """A decorator, and a context manager that returns the span; create one for each ``with``.

    Args:
        kind: the kind of the operation.
        prefix: the prefix of the span's name.
        operation: the name of the operation, with or without the prefix.
    """

    def __init__(self, kind: Kind, prefix: str, operation: str) -> None:
        self._begin = partial(Operation, kind, prefix + operation.removeprefix(prefix), operation)
        self._entered: list[tuple[Operation, Token[Context] | None]] = []

    def __enter__(self) -> trace_api.Span:
        operation = self._begin()
        self._entered.append((operation, operation.enter()))
        return operation.span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered:
            operation, token = self._entered.pop()
            operation.leave(token)
            operation.end(error)

    def __call__(self, function: F) -> F:
        """Record a span for every call of a function; for a generator from its first item on."""
        if inspect.isasyncgenfunction(function):
            traced = _asynchronous_generator(self._begin, function)
        elif inspect.isgeneratorfunction(function):
            traced = _generator(self._begin, function)
        elif inspect.iscoroutinefunction(function):
            traced = _coroutine(self._begin, function)
        else:
            traced = _function(self._begin, function)
        return cast(F, wraps(function)(traced))


def trace_avatar_operation(name: str) -> TracedOperation:
    """Record a span ``avatar.NAME`` around code that makes, looks up or fetches a picture.

    Args:
        name: the name of the operation, such as ``generate_png``.
    """
    return TracedOperation("avatar", "avatar.", name)


def trace_file_upload(name: str) -> TracedOperation:
    """Record a span ``file_upload.NAME`` with the attributes of the uploaded file.

    Args:
        name: the name of the operation, such as ``process``.
    """
    return TracedOperation("upload", "file_upload.", name)


def trace_authentication(name: str) -> TracedOperation:
    """Record a span ``auth.NAME``.

    Args:
        name: the name of the operation, such as ``login``.
    """
    return TracedOperation("auth", "auth.", name)


def _function(begin: Callable[[], Operation], function: Callable[..., Any]) -> Callable[..., Any]:
    def traced(*args: Any, **kwargs: Any) -> Any:
        operation = begin()
        token = operation.enter()
        error = None
        try:
            return function(*args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.leave(token)
            operation.end(error)
            del error  # its traceback refers to this frame

    return traced


def _coroutine(begin: Callable[[], Operation], function: Callable[..., Any]) -> Callable[..., Any]:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        operation = begin()
        token = operation.enter()
        error = None
        try:
            return await function(*args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.leave(token)
            operation.end(error)
            del error

    return traced


def _generator(begin: Callable[[], Operation], function: Callable[..., Any]) -> Callable[..., Any]:
    def traced(*args: Any, **kwargs: Any) -> Any:
        operation = begin()
        generator = function(*args, **kwargs)
        resume: Callable[[], Any] = partial(next, generator)
        error = None
        try:
            while True:
                # The span is current while the generator runs, and not while its caller does.
                token = operation.enter()
                try:
                    item = resume()
                except StopIteration as end:
                    return end.value
                finally:
                    operation.leave(token)
                try:
                    resume = partial(generator.send, (yield item))
                except BaseException as thrown:  # noqa: BLE001 - passed to the generator
                    resume = partial(generator.throw, thrown)
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.end(error)
            del error, resume

    return traced


def _asynchronous_generator(
    begin: Callable[[], Operation], function: Callable[..., Any]
) -> Callable[..., Any]:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        operation = begin()
        generator = function(*args, **kwargs)
        resume: Callable[[], Any] = generator.__anext__
        error = None
        try:
            while True:
                token = operation.enter()
                try:
                    item = await resume()
                except StopAsyncIteration:
                    return
                finally:
                    operation.leave(token)
                try:
                    resume = partial(generator.asend, (yield item))
                except BaseException as thrown:  # noqa: BLE001 - passed to the generator
                    resume = partial(generator.athrow, thrown)
        except BaseException as raised:
            error = raised
            raise
        finally:
            operation.end(error)
            del error, resume

    return traced
