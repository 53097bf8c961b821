"""What an application records by hand, beside the probes: each thing is counted once."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
import urllib.request
from typing import Any

import pytest

from avatar_telemetry import Profile, Route, current_request, get_avatar_metrics
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.testing import Recording, recording
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.recorder import DIGEST
from tests.support.running import DEADLINE, PageServer
from tests.support.wsgi_client import FORM, call

AVATAR = f"/avatar/{DIGEST}"
METRICS = get_avatar_metrics()
CACHE = "django:filesystem"
INTERNAL = "avatar_telemetry_internal_errors_total"
COUNTERS = (
    "ivatar_avatars_generated_total", "ivatar_avatar_cache_hits_total",
    "ivatar_avatar_cache_misses_total", "ivatar_external_avatar_requests_total",
    "ivatar_file_uploads_total", "ivatar_auth_attempts_total",
)  # fmt: skip


def view(tell: Any, status: str = "200 OK", kind: str = "image/png") -> Any:
    """An application that tells something and answers."""

    def application(environ, start_response):
        tell()
        start_response(status, [("Content-Type", kind), ("Location", "/done/")])
        return [b"picture"]

    return application


def counts(recorded: Recording) -> dict[str, float]:
    assert recorded.value(INTERNAL) == 0
    return {name: value for name in COUNTERS if (value := recorded.value(name))}


def by_hand_hit() -> None:
    METRICS.record_cache_hit(80, "png")


def by_hand_miss() -> None:
    METRICS.record_cache_miss(80, "png")


def by_hand_drawn(source: str = "generated") -> None:
    METRICS.record_avatar_generated(80, "png", source, 0.1)


def seen_hit() -> None:
    CURRENT.get().cache_lookup(CACHE, hit=True)


def seen_miss() -> None:
    CURRENT.get().cache_lookup(CACHE, hit=False)


def seen_drawn() -> None:
    CURRENT.get().generated("pagan:Avatar")


HITS, MISSES = "ivatar_avatar_cache_hits_total", "ivatar_avatar_cache_misses_total"
MADE = "ivatar_avatars_generated_total"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([by_hand_hit], {HITS: 1}, id="hit by hand"),
        pytest.param([by_hand_hit, seen_hit], {HITS: 1}, id="hit by hand and seen"),
        pytest.param([seen_hit, by_hand_hit], {HITS: 1}, id="hit seen and by hand"),
        pytest.param([by_hand_hit] * 3, {HITS: 1}, id="hit by hand three times"),
        pytest.param([seen_miss, by_hand_miss, seen_drawn, by_hand_drawn], {MISSES: 1, MADE: 1},
                     id="miss and drawn, both seen and by hand"),
        pytest.param([by_hand_miss, by_hand_drawn, seen_miss, seen_drawn], {MISSES: 1, MADE: 1},
                     id="the same in the other order"),
        pytest.param([by_hand_drawn, by_hand_drawn], {MADE: 1}, id="drawn by hand twice"),
        pytest.param([seen_drawn, by_hand_drawn], {MADE: 1}, id="drawn, seen and by hand"),
    ],
)  # fmt: skip
def test_a_request_for_an_avatar_counts_once(steps, expected) -> None:
    """Inside a request for an avatar, what is told by hand and what a probe sees is one fact."""

    def tell():
        for step in steps:
            step()

    with recording(IVATAR) as recorded:
        call(recorded.wrap(view(tell)), path=AVATAR)
        assert counts(recorded) == expected
        assert recorded.value("ivatar_avatar_generation_seconds_count") == expected.get(MADE, 0)


@pytest.mark.parametrize("source", ["uploaded", "external", "generated"])
def test_the_source_that_is_told_stands(source: str) -> None:
    """What the application says of a picture's source stands above what was concluded."""

    def tell():
        seen_miss()
        seen_drawn()
        by_hand_drawn(source)

    with recording(IVATAR) as recorded:
        for _ in range(3):  # the answer is remembered
            call(recorded.wrap(view(tell)), path=AVATAR)

        def only_seen():
            seen_miss()
            seen_drawn()

        call(recorded.wrap(view(only_seen)), path=AVATAR)
        own = 4 if source == "generated" else 3
        assert recorded.value(MADE, source=source, size="80", format="png") == own
        assert recorded.value(MADE) == 4


def test_what_is_told_too_late_is_counted_once() -> None:
    """Told after the last byte was sent, a fact counts unless the request had it."""

    def late(*steps):
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", "3")])
            steps[0]()
            yield b"one"
            for step in steps[1:]:
                step()

        return application

    nothing = lambda: None  # noqa: E731
    with recording(IVATAR) as recorded:
        call(recorded.wrap(late(seen_hit, by_hand_hit)), path=AVATAR)
        assert counts(recorded) == {HITS: 1}
        call(recorded.wrap(late(seen_drawn, by_hand_drawn, by_hand_drawn)), path=AVATAR)
        assert counts(recorded) == {HITS: 1, MADE: 1}
        call(recorded.wrap(late(nothing, by_hand_miss, by_hand_miss, by_hand_drawn)), path=AVATAR)
        assert counts(recorded) == {HITS: 1, MISSES: 1, MADE: 2}


def test_outside_of_a_request_it_is_counted_at_once() -> None:
    """A task beside the requests counts at once, with the labels of the closed sets."""
    with recording(IVATAR) as recorded:
        METRICS.record_avatar_generated("128", "image/jpeg", "generated", 0.2)
        METRICS.record_cache_hit(80, ".png")
        METRICS.record_cache_miss(80, "jpeg")
        METRICS.record_external_request("gravatar", True, 0.1)
        METRICS.record_file_upload(2048, "image/png", False)
        METRICS.record_auth("login", True)
        assert counts(recorded) == dict.fromkeys(COUNTERS, 1)
        assert recorded.value(MADE, size="128", format="jpg", source="generated") == 1
        assert recorded.value(MISSES, format="jpg") == 1
        assert (
            recorded.value("ivatar_external_avatar_request_seconds_sum", service="gravatar") == 0.1
        )
        assert recorded.value("ivatar_file_upload_size_bytes_sum") == 2048
        assert recorded.value("ivatar_auth_attempts_total", operation="login", success="true") == 1


@pytest.mark.parametrize(
    "value",
    ["../etc/passwd", "", None, -1, pytest.param(10**400, id="huge"), object(), "🙂", float("nan")],
)
def test_odd_values_become_other(value: Any) -> None:
    """Whatever is told, labels stay within their sets and nothing raises."""
    with recording(IVATAR) as recorded:
        METRICS.record_avatar_generated(value, value, value if value.__hash__ else "", value)
        METRICS.record_cache_hit(value, value)
        METRICS.record_external_request(value, value, value)
        METRICS.record_file_upload(value, value, value)
        METRICS.record_auth(value, value)
        assert recorded.value(MADE, size="other", format="other", source="other") == 1
        assert recorded.value("ivatar_external_avatar_requests_total", service="other") == 1
        assert recorded.value("ivatar_file_uploads_total", content_type="other") == 1
        assert recorded.value("ivatar_auth_attempts_total", operation="other") == 1
        assert recorded.value(INTERNAL) == 0


@pytest.mark.parametrize(
    ("seconds", "observed"),
    [(0, 1), ("0.5", 1), (-0.1, 0), (float("inf"), 0), (float("nan"), 0), ("soon", 0), (None, 0)],
)
def test_only_a_duration_is_observed(seconds: Any, observed: int) -> None:
    """What is no duration is counted without one: a histogram must never go back."""
    with recording(IVATAR) as recorded:
        METRICS.record_external_request("gravatar", True, seconds)
        assert recorded.value(OUTSIDE) == 1
        assert recorded.value("ivatar_external_avatar_request_seconds_count") == observed


OUTSIDE = "ivatar_external_avatar_requests_total"


def seen_call(host: str = "secure.gravatar.com") -> None:
    CURRENT.get().outside_call(host, 0.1, success=True)


def by_hand_call(service: str = "gravatar") -> None:
    METRICS.record_external_request(service, True, 0.1)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([seen_call, by_hand_call], {"gravatar": 1}, id="the same call"),
        pytest.param([seen_call, by_hand_call] * 3, {"gravatar": 3}, id="three calls"),
        pytest.param([by_hand_call, by_hand_call], {"gravatar": 2}, id="two that no probe sees"),
        pytest.param([seen_call, lambda: by_hand_call("secure.gravatar.com")], {"gravatar": 1},
                     id="by its host"),
        pytest.param([seen_call, lambda: by_hand_call("bluesky")], {"gravatar": 1, "bluesky": 1},
                     id="another service"),
    ],
)  # fmt: skip
def test_a_call_that_a_probe_has_seen_is_not_counted_again(steps, expected) -> None:
    """An outside call counts once, whether a probe saw it, the application told it, or both."""

    def tell():
        for step in steps:
            step()

    with recording(IVATAR) as recorded:
        call(recorded.wrap(view(tell)), path=AVATAR)
        found = {name: recorded.value(OUTSIDE, service=name) for name in expected}
        assert found == expected
        assert recorded.value(OUTSIDE) == sum(expected.values())


def test_a_call_counts_by_the_kind_of_its_route() -> None:
    """Only a request for an avatar fetches one; elsewhere it is another outside call."""
    with recording(IVATAR) as recorded:
        for path in (AVATAR, "/openid/complete/", "/accounts/import_photo/"):
            call(recorded.wrap(view(by_hand_call)), path=path)
        assert recorded.value(OUTSIDE, service="gravatar") == 1
        assert recorded.value("ivatar_external_requests_total", service="gravatar") == 2
        assert recorded.value("ivatar_external_request_seconds_count", service="gravatar") == 2


def test_a_call_over_http_is_counted_once() -> None:
    """A call that the probe of urllib saw, and that the application then tells, is one."""

    def tell():
        with urllib.request.urlopen(server.url, timeout=DEADLINE) as answer:
            METRICS.record_external_request("here", answer.status == 200, 0.1)

    profile = Profile("one", services={"127.0.0.1": "here"})
    with PageServer() as server, recording(profile) as recorded:
        call(recorded.wrap(view(tell)), path="/x")
        assert recorded.value("ivatar_external_requests_total", service="here", success="true") == 1
        assert recorded.value("ivatar_external_request_seconds_count") == 1
        assert recorded.value(OUTSIDE) == 0


@pytest.mark.parametrize(
    ("multipart", "size", "kind"),
    [pytest.param(True, 100, "image/png", id="a form"), (False, 77, "image/gif")],
)
def test_an_upload_counts_once(multipart: bool, size: int, kind: str) -> None:
    """An upload that is told by hand counts once, as the application judges it; sizes are those
    that were seen."""

    def application(environ, start_response):
        environ["wsgi.input"].read()
        METRICS.record_file_upload(77, "image/gif", False)
        METRICS.record_file_upload(77, "image/gif", True)
        start_response("302 Found", [("Location", "/profile/")])
        return []

    content_type = "multipart/form-data; boundary=x" if multipart else "image/gif"
    with recording(IVATAR) as recorded:
        call(
            recorded.wrap(application), path="/accounts/upload_photo/", method="POST", body=FORM,
            CONTENT_TYPE=content_type,
        )  # fmt: skip
        assert counts(recorded) == {"ivatar_file_uploads_total": 1}
        assert recorded.value("ivatar_file_uploads_total", success="false", content_type=kind) == 1
        assert recorded.value("ivatar_file_upload_size_bytes_sum") == size
        assert recorded.value("ivatar_file_upload_size_bytes_count") == 1


@pytest.mark.parametrize(("told", "status"), [(True, "200 OK"), (False, "302 Found")])
def test_an_attempt_to_log_in_counts_once(told: bool, status: str) -> None:
    """What the application says of a log-in stands above what its answer looks like."""

    def tell():
        METRICS.record_auth("login", told)

    with recording(IVATAR) as recorded:
        call(recorded.wrap(view(tell, status)), path="/accounts/login/", method="POST")
        assert counts(recorded) == {"ivatar_auth_attempts_total": 1}
        wanted = {"operation": "login", "success": "true" if told else "false"}
        assert recorded.value("ivatar_auth_attempts_total", **wanted) == 1


def test_what_a_request_does_not_count_itself_is_counted_at_once() -> None:
    """In a request for a page, an upload or a log-in that is told counts as outside of one."""
    profile = Profile("pages", routes=(Route(r"^/api/", "/api/", "page"),))

    def tell():
        METRICS.record_auth("login", True)
        METRICS.record_file_upload(10, "image/png", True)
        by_hand_drawn()
        by_hand_hit()

    with recording(profile) as recorded:
        call(recorded.wrap(view(tell)), path="/api/x")
        assert counts(recorded) == {
            MADE: 1, HITS: 1, "ivatar_file_uploads_total": 1, "ivatar_auth_attempts_total": 1,
        }  # fmt: skip


def test_a_thread_works_for_its_request() -> None:
    """In a thread that was given the context, the request is known; in another it is not."""
    known = []

    def application(environ, start_response):
        context = contextvars.copy_context()
        for run in (context.run, lambda work: work()):
            thread = threading.Thread(
                target=run, args=(lambda: known.append(bool(current_request())),)
            )
            thread.start()
            thread.join()
        start_response("200 OK", [])
        return []

    with recording(IVATAR) as recorded:
        call(recorded.wrap(application), path=AVATAR)
    assert known == [True, False]


def test_attributes_on_the_server_span() -> None:
    """What is set on the current request stands on its server span, odd values do not raise."""

    def tell():
        current_request().set_attribute("shop.customer", "gold")
        current_request().set_attribute("shop.tags", ["a", "b"])
        current_request().set_attribute("shop.odd", object())
        current_request().set_attribute([], 1)

    with recording(IVATAR) as recorded:
        call(recorded.wrap(view(tell)), path=AVATAR)
        attributes = recorded.span("GET /avatar/{digest}").attributes
        assert attributes["shop.customer"] == "gold"
        assert attributes["shop.tags"] == ("a", "b")


def test_without_a_recorded_span_nothing_happens() -> None:
    """An attribute of a request that is not sampled goes nowhere."""
    tell = lambda: current_request().set_attribute("a", 1)  # noqa: E731
    with recording(IVATAR, {"OTEL_TRACES_SAMPLER": "always_off"}) as recorded:
        call(recorded.wrap(view(tell)), path=AVATAR)
        assert recorded.spans() == ()
        assert recorded.value(INTERNAL) == 0


def test_outside_of_a_request_there_is_none() -> None:
    """Where no request is in progress, there is one that counts as false and takes anything."""
    assert not current_request()
    current_request().set_attribute("a", 1)


INERT = """
from avatar_telemetry import *
from avatar_telemetry import instrument
def application(environ, start_response):
    with trace_avatar_operation("draw") as span:
        span.set_attribute("a", 1)
        current_request().set_attribute("a", 1)
        metrics = get_avatar_metrics()
        metrics.record_avatar_generated(80, "png")
        metrics.record_cache_hit(80, "png")
        metrics.record_cache_miss(80, "png")
        metrics.record_external_request("gravatar", True, 1.0)
        metrics.record_file_upload(1, "image/png", True)
        metrics.record_auth("login", True)
    return []
assert instrument(application) is application
assert application({}, None) == []
import logging, os
assert not hasattr(logging.makeLogRecord({}), "trace_id")
"""


def test_all_of_it_is_inert_with_the_sdk_disabled() -> None:
    """With ``OTEL_SDK_DISABLED`` every call does nothing, and no file is made."""
    done = subprocess.run(
        [sys.executable, "-c", INERT], capture_output=True, text=True, timeout=DEADLINE,
        env={"OTEL_SDK_DISABLED": "true", "PATH": ""}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
