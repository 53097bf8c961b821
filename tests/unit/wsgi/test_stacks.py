"""Stacks of requests in progress: which are found, and their contents."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from avatar_telemetry.wsgi import stacks
from avatar_telemetry.wsgi.request import AvatarRequest
from avatar_telemetry.wsgi.stacks import (
    MAX_FRAMES,
    Place,
    Stack,
    running_requests,
    short_path,
    thread_stacks,
)
from tests.support.held import Gate, held, waiting
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, make_environ, start

SECRET = "ann@example.org"


def running() -> dict[AvatarRequest, list[FrameType]]:
    return running_requests(thread_stacks())


def names(frames: list[FrameType]) -> list[str]:
    """The plain names of the functions, from the outside in."""
    return [place.function.rpartition(".")[2] for place in Stack.of(frames).places]


def test_a_request_of_another_thread(recorder: Recorder) -> None:
    """Its stack begins with the application and ends where it waits, in files below the path."""
    gate = Gate()
    with held(recorder.wrap(waiting(gate)), gate, "/avatar/abc"):
        ((request, frames),) = running().items()
        assert request is gate.requests[0]
        stack = Stack.of(frames)
    assert names(frames)[:2] == ["application", "wait"]
    assert stack.places[0].file.endswith("tests/support/held.py")
    assert stack.places[-1].file == "threading.py"
    lines = (Path(__file__).parents[2] / "support" / "held.py").read_text().splitlines()
    assert lines[stack.places[0].line - 1].strip() == "gate.wait()"
    assert running() == {}, "it has ended"


def test_each_thread_has_its_own(recorder: Recorder) -> None:
    """Each of several concurrent requests has its own stack."""
    gate = Gate()
    with held(recorder.wrap(waiting(gate)), gate, "/a", "/b", "/c"):
        assert sorted(request.path for request in running()) == ["/a", "/b", "/c"]


@pytest.mark.parametrize("where", ["step", "close"])
def test_the_body_of_a_request(recorder: Recorder, where: str) -> None:
    """While a body is made or closed, its request runs; between two steps the server has it."""
    gate = Gate()
    found: list[int] = []

    class Pieces:
        def __iter__(self) -> Any:
            yield b"first"
            if where == "step":
                gate.wait()

        def close(self) -> None:
            if where == "close":
                gate.wait()

    def application(environ, start_response):
        start_response("200 OK", [])
        return Pieces()

    def serve() -> None:
        body = start(recorder.wrap(application)).body
        steps = iter(body)
        next(steps)
        found.append(len(running_requests([sys._getframe()])))
        if where == "step":
            list(steps)
        body.close()

    thread = threading.Thread(target=serve)
    thread.start()
    gate.arrive()
    ((request, frames),) = running().items()
    gate.open()
    thread.join()
    assert request is gate.requests[0]
    assert names(frames)[0] == {"step": "__iter__", "close": "close"}[where]
    assert found == [0]


def test_a_request_inside_another_one(recorder: Recorder) -> None:
    """An application that calls another one runs itself; frames of this package are left out."""
    gate = Gate()
    inner = recorder.wrap(waiting(gate))

    def outer(environ, start_response):
        return inner(make_environ("/inner"), start_response)

    with held(recorder.wrap(outer), gate, "/outer"):
        found = {request.path: frames for request, frames in running().items()}
        assert names(found["/inner"])[0] == "application"
        assert names(found["/outer"])[:2] == ["outer", "application"]


def test_a_request_that_has_finished(recorder: Recorder) -> None:
    """Work of an application after its last byte belongs to no request."""
    found: list[int] = []

    def application(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "2")])
        found.append(len(running_requests([sys._getframe()])))
        write(b"ok")
        found.append(len(running_requests([sys._getframe()])))
        return []

    call(recorder.wrap(application))
    assert found == [1, 0]


def test_no_value_is_told(recorder: Recorder) -> None:
    """Neither arguments nor variables nor lines of source; nor the odd name of generated code."""
    found: list[Stack] = []

    def application(environ, start_response):
        secret = SECRET
        code = compile(f"look({secret!r})", f"/home/{SECRET}", "exec")
        exec(code.replace(co_name=SECRET), {"look": look})
        start_response("200 OK", [])
        return []

    def look(argument):
        ((frames),) = running_requests([sys._getframe()]).values()
        found.append(Stack.of(frames))

    call(recorder.wrap(application), path=f"/{SECRET}", query=SECRET)
    (stack,) = found
    everything = stack.traceback + stack.line
    assert "ann" not in everything
    assert "example" not in everything
    assert stack.places[1].file == "?"


def test_a_deep_stack_keeps_its_innermost_frames() -> None:
    """Its length has a bound, and it says that something is missing."""

    def dive(depth):
        return dive(depth - 1) if depth else sys._getframe()

    frames: list[FrameType] = []
    frame: FrameType | None = dive(MAX_FRAMES + 4)
    while frame is not None and frame.f_code.co_name == "dive":
        frames.append(frame)
        frame = frame.f_back
    stack = Stack.of(frames)
    assert len(stack.places) == MAX_FRAMES
    assert stack.omitted == 5
    assert stack.traceback.startswith("[5 frames omitted]\nFile ")
    assert stack.line.startswith("... > ")


def test_both_forms() -> None:
    """A traceback for the span, one line for the log."""
    stack = Stack((Place("a.py", 1, "f"), Place("b/c.py", 22, "C.g")))
    assert stack.traceback == 'File "a.py", line 1, in f\nFile "b/c.py", line 22, in C.g'
    assert stack.line == "f (a.py:1) > C.g (b/c.py:22)"


@pytest.mark.parametrize(
    ("file", "short"),
    [
        pytest.param("/srv/app/pages/views.py", "pages/views.py", id="project"),
        pytest.param("/venv/lib/site-packages/django/x.py", "django/x.py", id="package"),
        pytest.param("/venv/lib/json/decoder.py", "json/decoder.py", id="library"),
        pytest.param("/home/ann/hidden/other.py", "other.py", id="elsewhere"),
        pytest.param("/srv/application/x.py", "x.py", id="a path that begins alike"),
        pytest.param("pages/views.py", "pages/views.py", id="relative"),
        pytest.param("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>", id="frozen"),
        pytest.param("<ann@example.org>", "?", id="generated"),
        pytest.param("", "?", id="empty"),
        pytest.param("/srv/app/" + "x" * 200 + ".py", "x" * 97 + ".py", id="long"),
    ],
)
def test_files_are_named_below_the_path(
    monkeypatch: pytest.MonkeyPatch, file: str, short: str
) -> None:
    """No directory of a user or of an installation is named."""
    path = ["", "/srv/app", "/venv/lib", "/venv/lib/site-packages", "relative"]
    monkeypatch.setattr(stacks.sys, "path", path)
    assert short_path(file) == short
