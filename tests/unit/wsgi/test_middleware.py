"""The middleware: the layer of its process, requests that cannot be begun, the metrics page."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from weakref import ref

import pytest

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.exposition import MetricsPage
from avatar_telemetry.wsgi.greenlets import SERVING
from avatar_telemetry.wsgi.middleware import Layer, TelemetryMiddleware
from avatar_telemetry.wsgi.request import ENVIRON_KEY, current_request
from tests.support.recorder import Recorder
from tests.support.requirements import require
from tests.support.wsgi_client import call, close, make_environ, start

REQUESTS = "ivatar_requests_total"


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]


def layer_of(recorder: Recorder, **environ: str) -> Layer:
    settings = Settings.from_env(environ)
    return Layer(recorder.telemetry, settings, MetricsPage(list, recorder.guard))


def test_the_layer_is_found_with_the_first_request_and_kept(recorder: Recorder) -> None:
    """Wrapping asks for nothing (preload_app); requests ask once."""
    asked: list[None] = []

    def find() -> Layer:
        asked.append(None)
        return recorder.layer

    wrapped = TelemetryMiddleware(application, find)
    assert not asked
    call(wrapped)
    call(wrapped)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("slow_stack", "greenlets", "noted"),
    [
        pytest.param("1s", True, True, id="on"),
        pytest.param("0", True, False, id="off"),
        pytest.param("1s", False, False, id="threads"),
    ],
)
@pytest.mark.parametrize("timing", ["true", "false"])
def test_greenlets_are_noted_for_stacks_of_slow_requests(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, slow_stack: str, greenlets: bool,
    noted: bool, timing: str,
) -> None:  # fmt: skip
    """Only where such stacks are taken and greenlets serve; beside the Server-Timing header."""
    if noted:
        require("gevent")
    monkeypatch.setattr("avatar_telemetry.wsgi.middleware.uses_greenlets", lambda: greenlets)
    layer = layer_of(
        recorder, AVATAR_TELEMETRY_SLOW_STACK=slow_stack, AVATAR_TELEMETRY_SERVER_TIMING=timing
    )
    exchange = call(TelemetryMiddleware(application, lambda: layer))
    assert (exchange.header("Server-Timing") is not None) == (timing == "true")
    assert len(SERVING) == noted
    SERVING.clear()


def test_a_stale_layer_is_not_used_again(recorder: Recorder, tmp_path: Any) -> None:
    """After a fork the layer is the parent's: the child's next request finds its own."""
    second = tmp_path / "second"
    second.mkdir()
    child = Recorder(second)
    layers = [recorder.layer, child.layer]
    wrapped = TelemetryMiddleware(application, lambda: layers.pop(0))
    call(wrapped)
    recorder.layer.stale = True
    for _ in range(2):
        call(wrapped)
    assert recorder.value(REQUESTS) == 1
    assert child.value(REQUESTS) == 2
    child.book.detach()


def test_a_request_that_cannot_be_begun_is_answered(tmp_path: Any) -> None:
    """A failure of ours before the application costs the record of this request only."""

    def broken(path: str) -> Any:
        raise RuntimeError("mine")

    recorder = Recorder(tmp_path)
    profile = replace(recorder.profile)
    object.__setattr__(profile, "route", broken)
    recorder.layer.telemetry = replace(recorder.telemetry, profile=profile)
    assert call(recorder.wrap(application)).content == b"fine"
    assert recorder.value("avatar_telemetry_internal_errors_total", where="begin") == 1
    assert recorder.value("ivatar_requests_in_progress") == 0
    recorder.book.detach()


@pytest.mark.parametrize(
    ("method", "path", "settings", "shown"),
    [
        pytest.param("GET", "/metrics", {}, True, id="get"),
        pytest.param("HEAD", "/metrics", {}, True, id="head"),
        pytest.param("POST", "/metrics", {}, False, id="post"),
        pytest.param("GET", "/metrics/", {}, False, id="another path"),
        pytest.param("GET", "/metrics", {"AVATAR_TELEMETRY_METRICS_PATH": ""}, False, id="off"),
        pytest.param("GET", "", {"AVATAR_TELEMETRY_METRICS_PATH": ""}, False, id="off, no path"),
        pytest.param("GET", "/m", {"AVATAR_TELEMETRY_METRICS_PATH": "/m"}, True, id="moved"),
    ],
)
def test_who_answers_the_path_of_the_page(
    recorder: Recorder, method: str, path: str, settings: dict[str, str], shown: bool
) -> None:
    """The page answers its own path and methods; everything else is the application's."""
    wrapped = TelemetryMiddleware(application, lambda: layer_of(recorder, **settings))
    exchange = call(wrapped, method=method, path=path, REMOTE_ADDR="127.0.0.1")
    assert (exchange.content != b"fine") is shown
    assert recorder.value(REQUESTS) == (0 if shown else 1)


@pytest.mark.parametrize("path", ["", None])
def test_a_page_that_is_off_is_shown_to_nobody(recorder: Recorder, path: str | None) -> None:
    """A server may leave an empty PATH_INFO out (PEP 3333): that is no path of the page."""
    layer = layer_of(recorder, AVATAR_TELEMETRY_METRICS_PATH="")
    environ = make_environ("", REMOTE_ADDR="127.0.0.1")
    if path is None:
        del environ["PATH_INFO"]
    answer = call(TelemetryMiddleware(application, lambda: layer), environ)
    assert answer.content == b"fine"


def test_the_page_of_another_host_is_the_applications(recorder: Recorder) -> None:
    """A caller who may not see the metrics gets what the application answers."""
    exchange = call(recorder.wrap(application), path="/metrics", REMOTE_ADDR="192.0.2.1")
    assert exchange.content == b"fine"
    assert recorder.value(REQUESTS) == 1


@pytest.mark.parametrize("raises", [False, True], ids=["answers", "raises"])
def test_the_request_is_current_in_the_application_alone(recorder: Recorder, raises: bool) -> None:
    """A server that goes on in the same thread, with another request, finds none."""
    seen = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(current_request())
        if raises:
            raise ValueError("mine")
        start_response("200 OK", [])
        return [b"1", b"2"]

    environ = make_environ()
    with pytest.raises(ValueError, match="mine") if raises else nullcontext():
        exchange = start(recorder.wrap(application), environ)
        assert current_request() is None
        close(exchange.body)
    assert current_request() is None
    assert seen == [environ[ENVIRON_KEY]]


class Held:
    """A local variable of the application, which may hold anything."""


def test_the_frames_of_a_failed_request_are_freed(recorder: Recorder) -> None:
    """A reference to the environ, as of a log handler, keeps no frames of the application."""
    held: list[ref[Held]] = []

    def failing(environ: Any, start_response: Any) -> Any:
        local = Held()
        held.append(ref(local))
        raise ValueError("mine")

    environ = make_environ()
    with pytest.raises(ValueError, match="mine"):
        call(recorder.wrap(failing), environ)
    assert environ[ENVIRON_KEY].error is None
    assert held[0]() is None


def test_an_environ_of_a_request_that_ended_without_a_status(recorder: Recorder) -> None:
    """A second request with the environ of a first one that sent no head is counted, too."""
    environ = make_environ()
    for _ in range(2):
        call(recorder.wrap(lambda environ, start_response: []), environ)
    assert recorder.value(REQUESTS) == 2
