"""Spans of one's own: decorators and context managers."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from typing import Any

import pytest
from opentelemetry import trace as trace_api

from avatar_telemetry import trace_authentication, trace_avatar_operation, trace_file_upload
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.testing import Recording, recording
from tests.support.recorder import DIGEST
from tests.support.wsgi_client import FORM, call, make_environ

AVATAR = f"/avatar/{DIGEST}"


def current() -> str:
    """The name of the current span; empty outside of any."""
    return getattr(trace_api.get_current_span(), "name", "")


@pytest.fixture
def recorded():
    with recording(IVATAR) as recorded:
        yield recorded
        assert recorded.value("avatar_telemetry_internal_errors_total") == 0
    assert current() == ""


def inside(recorded: Recording, work: Any, path: str = AVATAR, **environ: Any) -> Any:
    """Run something inside a request; its result."""
    results = []

    def application(environ, start_response):
        results.append(work(environ))
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"picture"]

    call(recorded.wrap(application), make_environ(path, **environ))
    return results[0]


@pytest.mark.parametrize(
    ("trace", "name", "span", "kind"),
    [
        (trace_avatar_operation, "generate_png", "avatar.generate_png", "avatar"),
        (trace_avatar_operation, "avatar.gravatar_proxy", "avatar.gravatar_proxy", "avatar"),
        (trace_file_upload, "process", "file_upload.process", "upload"),
        (trace_authentication, "login", "auth.login", "auth"),
    ],
)
def test_spans_of_each_decorator(recorded, trace, name, span, kind) -> None:
    """Each decorator makes the span that its name promises, under the request's own."""
    assert inside(recorded, trace(name)(lambda environ: current())) == span
    made, parent = recorded.span(span), recorded.span("avatar.serve_png")
    assert made.parent.span_id == parent.context.span_id
    assert made.attributes["ivatar.request_type"] == kind
    assert made.attributes["ivatar.operation"] == name


def test_what_the_request_knows(recorded) -> None:
    """A span of an avatar bears its size, one of an upload what was seen of its file."""
    inside(recorded, trace_avatar_operation("a")(lambda environ: None), QUERY_STRING="s=128")
    assert recorded.span("avatar.a").attributes["ivatar.avatar_size"] == 128
    read = trace_file_upload("b")(lambda environ: environ["wsgi.input"].read())
    inside(
        recorded, read, "/accounts/upload_photo/", method="POST", body=FORM,
        CONTENT_TYPE="multipart/form-data; boundary=x",
    )  # fmt: skip
    attributes = recorded.span("file_upload.b").attributes
    assert {key: attributes[key] for key in ("file.name", "file.size", "file.content_type")} == {
        "file.name": ".png", "file.size": 100, "file.content_type": "image/png",
    }  # fmt: skip


def test_as_a_context_manager(recorded) -> None:
    """The block gets the span; one object may be used again, and inside itself."""
    operation = trace_avatar_operation("x")
    with operation as outer, operation as inner:
        inner.set_attribute("mine", 1)
        assert trace_api.get_current_span() is inner
    assert not outer.is_recording()
    first, second = recorded.spans()
    assert first.attributes["mine"] == 1
    assert first.parent.span_id == second.context.span_id
    assert second.parent is None, "outside of a request it is a trace of its own"


class Oops(Exception):
    pass


def test_an_exception_passes_and_is_told(recorded) -> None:
    """What is raised inside reaches the caller as it is, and stands on the span."""
    error = Oops("nothing")

    @trace_avatar_operation("fails")
    def fails():
        raise error

    with pytest.raises(Oops) as caught:
        fails()
    assert caught.value is error
    with pytest.raises(Oops), trace_avatar_operation("fails too"):
        raise error
    for span in recorded.spans():
        assert span.status.status_code is trace_api.StatusCode.ERROR
        assert span.events[0].attributes["exception.type"].endswith("Oops")


def test_a_decorated_function_is_still_itself(recorded) -> None:
    """Name, signature and kind of a function are kept; a method stays one."""

    class Drawer:
        @trace_avatar_operation("draw")
        def draw(self, size: int, *, form: str = "png") -> str:
            """Draws."""
            return f"{size}{form}"

    assert Drawer().draw(3, form="x") == "3x"
    assert Drawer.draw.__name__ == "draw"
    assert str(inspect.signature(Drawer.draw)).startswith("(self, size")
    assert inspect.isgeneratorfunction(trace_avatar_operation("g")(chunks))
    assert inspect.iscoroutinefunction(trace_avatar_operation("c")(asyncio.sleep))


def chunks(*items):
    for item in items:
        yield (item, current())
    return "end"


def test_a_generator(recorded) -> None:
    """The span of a generator is current while it runs, not while its caller does, and ends with
    it."""
    generator = trace_avatar_operation("stream")(chunks)(1, 2)
    assert not recorded.spans()
    for expected in (1, 2):
        assert next(generator) == (expected, "avatar.stream")
        assert current() == ""
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "end"
    assert recorded.span("avatar.stream").status.is_unset


def test_a_generator_that_is_left_early(recorded) -> None:
    """Closing a generator closes the one inside, within its span; that is no error."""
    seen = []

    @trace_avatar_operation("stream")
    def stream():
        try:
            yield 1
        finally:
            seen.append(current())

    generator = stream()
    next(generator)
    generator.close()
    assert seen == ["avatar.stream"]
    assert recorded.span("avatar.stream").status.is_unset


def test_a_generator_that_is_talked_to(recorded) -> None:
    """What is sent and thrown into a generator arrives, and what it makes of that comes back."""

    @trace_avatar_operation("talk")
    def talk():
        heard = yield "hello"
        try:
            yield heard
        except Oops as error:
            yield error
        raise Oops("bye")

    generator, error = talk(), Oops("thrown")
    assert next(generator) == "hello"
    assert generator.send("you") == "you"
    assert generator.throw(error) is error
    with pytest.raises(Oops, match="bye"):
        next(generator)
    assert recorded.span("avatar.talk").status.status_code is trace_api.StatusCode.ERROR


def test_a_coroutine(recorded) -> None:
    """The span of a coroutine lasts until its end, and tasks beside it have their own."""

    @trace_avatar_operation("fetch")
    async def fetch(number: int) -> tuple[int, Any]:
        mine = trace_api.get_current_span()
        await asyncio.sleep(0)
        return number, trace_api.get_current_span() is mine

    async def both() -> Any:
        return await asyncio.gather(*map(fetch, range(5)))

    assert asyncio.run(both()) == [(number, True) for number in range(5)]
    assert len({span.context.trace_id for span in recorded.spans()}) == 5


def test_an_asynchronous_generator(recorded) -> None:
    """It is as with a generator, errors and early ends included."""

    @trace_avatar_operation("stream")
    async def stream():
        try:
            heard = yield current()
            yield heard
            raise Oops
        finally:
            yield_free.append(current())

    yield_free: list[str] = []

    async def talk() -> None:
        generator = stream()
        assert await generator.asend(None) == "avatar.stream"
        assert current() == ""
        assert await generator.asend("you") == "you"
        with pytest.raises(Oops):
            await generator.asend(None)
        left = stream()
        await left.asend(None)
        await left.aclose()

    asyncio.run(talk())
    assert yield_free == ["avatar.stream"] * 2
    failed, left = recorded.spans()
    assert failed.status.status_code is trace_api.StatusCode.ERROR
    assert left.status.is_unset


def test_a_thread_that_is_given_the_context(recorded) -> None:
    """With the context, what a thread does belongs to the request."""
    draw = trace_avatar_operation("draw")(lambda: current())

    def work(environ):
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(draw))
        thread.start()
        thread.join()

    inside(recorded, work)
    assert recorded.span("avatar.draw").parent.span_id == (
        recorded.span("avatar.serve_png").context.span_id
    )


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_a_request_that_is_not_sampled(sampler: str) -> None:
    """In a trace that is not recorded the code runs, and nothing is recorded."""
    with recording(IVATAR, {"OTEL_TRACES_SAMPLER": sampler}) as recorded:
        draw = trace_avatar_operation("draw")(lambda environ: current())
        assert inside(recorded, draw) == ""
        assert recorded.spans() == ()


def test_outside_of_a_worker_nothing_happens() -> None:
    """Without telemetry everything runs as if it were not decorated."""
    assert list(trace_avatar_operation("x")(chunks)(1)) == [(1, "")]
    assert trace_avatar_operation("x")(lambda: current())() == ""
    with trace_avatar_operation("x") as span:
        span.set_attribute("a", 1)
        assert not span.is_recording()
