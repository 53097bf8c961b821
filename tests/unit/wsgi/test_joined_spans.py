"""Spans of requests that are joined from blocks have the bytes of the official encoder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing import provider as provider_module
from avatar_telemetry.tracing import span as span_module
from avatar_telemetry.tracing.span import SpanSink
from avatar_telemetry.tracing.writer import KeptSpans, SpanWriter
from avatar_telemetry.wsgi import request as request_module
from avatar_telemetry.wsgi import request_spans
from avatar_telemetry.wsgi.request import AvatarRequest
from avatar_telemetry.wsgi.telemetry import Telemetry
from tests.support.frames import Frames, official_sections, raw_sections
from tests.support.providers import start_child

DIGEST = "0123456789abcdef" * 2
CACHE = "django:filesystem"
NOW = 1_700_000_000_000_000_000


class SameIds:
    """Draws the same ids for every request."""

    def __init__(self) -> None:
        self.stock = (
            (number.to_bytes(16, "big"), (2 * number).to_bytes(8, "big"),
             (2 * number + 1).to_bytes(8, "big"))
            for number in count(1)
        )  # fmt: skip

    def draw(self) -> tuple[bytes, bytes, bytes]:
        return next(self.stock)


class Side:
    """A middleware whose spans go into a sink."""

    def __init__(self, sink: SpanSink, **environ: str) -> None:
        settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none",
                                      **environ})  # fmt: skip
        self.failures: list[str] = []
        guard = Guard(self.failures.append)
        resource = Resource({})
        pipeline = Pipeline(settings, resource, b"key", guard, sink)
        self.provider = pipeline.provider
        self.tracing = pipeline.tracing(PROFILE)
        sizes = {size: str(size) for size in settings.sizes}
        self.telemetry = Telemetry(Metrics(Book(), 10_000), guard, PROFILE, sizes, self.tracing)

    def serve(self, case: Case) -> None:
        self.tracing.tracer._ids = SameIds()  # type: ignore[assignment]
        environ = dict(case.environ)
        route = PROFILE.route(environ["PATH_INFO"])
        request = AvatarRequest(self.telemetry, environ, route, lambda *head: lambda data: None)
        entered = request.enter()
        try:
            case.tell(request)
        finally:
            request.leave(entered)
        if case.status:
            request.start_response(case.status, case.headers)
        request.sending_all([case.body])
        assert request.finished


@dataclass
class Case:
    """A request, what is reported of it, and its response."""

    environ: dict[str, Any]
    steps: list[str] = field(default_factory=list)
    status: str = "200 OK"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def tell(self, request: AvatarRequest) -> None:
        for step in self.steps:
            if not request.finished:
                STEPS[step](request)


STEPS: dict[str, Any] = {
    "hit": lambda request: request.cache_lookup(CACHE, hit=True),
    "miss": lambda request: request.cache_lookup(CACHE, hit=False),
    "drawn": lambda request: request.generated("pagan:Avatar"),
    "fetched": lambda request: request.outside_call("gravatar.com", 0.1, success=True),
    "query": lambda request: request.db_query("sqlite", "SELECT", 0.1),
    "view": lambda request: request.resolved("/found/{id}", "site.views.found"),
    "attribute": lambda request: request.set_attribute("mine", 1),
    "clash": lambda request: request.set_attribute("http.method", "mine"),
    "child": lambda request: request.tracer.start_span("child").end(),
    "under": lambda request: start_child(
        request.recorded[0]._root, request.tracer, "child", NOW
    ).end(),
    "error": lambda request: request.application_error(ValueError("x")),
    "failed": lambda request: request.failed(ValueError("x")),
}
TEXTS = st.text(st.characters(max_codepoint=255), max_size=8)
ADDRESSES = st.sampled_from(["192.0.2.77", "2001:db8::7", "", "unix"]) | TEXTS
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENVIRONS = st.fixed_dictionaries(
    {
        "PATH_INFO": st.sampled_from([
            f"/avatar/{DIGEST}", f"/avatar/{DIGEST[::-1]}.png", "/avatar/", "/avatar/nothing",
            f"/gravatarproxy/{DIGEST}", "/accounts/login/", "/accounts/upload_photo/",
            "/accounts/import_photo/somebody@mail.test", "/", "/unknown", "*",
        ]) | TEXTS.map("/".__add__),
    },
    optional={
        "REQUEST_METHOD": st.sampled_from(["GET", "HEAD", "POST", "BREW", "get", "_OTHER", ""]),
        "wsgi.url_scheme": st.sampled_from(["http", "https", "gopher"]),
        "HTTP_HOST": st.sampled_from(["avatar.test", "avatar.test:8000", "[::1]:80"]) | TEXTS,
        "SERVER_NAME": TEXTS, "SERVER_PORT": st.sampled_from(["80", "8000", "x", ""]),
        "SCRIPT_NAME": st.sampled_from(["", "/mounted", "/caf\xe9"]),
        "QUERY_STRING": st.sampled_from(["", "s=80&d=identicon", "s=1000&secret=1"]) | TEXTS,
        "SERVER_PROTOCOL": st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/9"]),
        "CONTENT_LENGTH": st.sampled_from(["", "0", "17", "many", "9" * 30]),
        "HTTP_USER_AGENT": st.sampled_from(["curl/8.5", "me@mail.test", "x" * 600]) | TEXTS,
        "REMOTE_ADDR": ADDRESSES,
        "HTTP_X_FORWARDED_FOR": ADDRESSES,
        "HTTP_TRACEPARENT": st.just(PARENT),
    },
)  # fmt: skip
HEADERS = st.lists(
    st.sampled_from([
        ("Content-Type", "image/png"), ("Content-Type", "text/html"), ("Content-Length", "5"),
        ("Content-Length", "many"), ("Content-Length", "9" * 18), ("Content-Length", "0"),
        ("Location", "/accounts/profile/"),
    ]), max_size=3,
)  # fmt: skip
CASES = st.builds(
    Case, ENVIRONS, st.lists(st.sampled_from([*STEPS]), max_size=4),
    st.sampled_from(["200 OK", "302 Found", "304 Not", "404 Not Found", "204 No", "500 Oh", "999 x",
                     "x", ""]),
    HEADERS, st.binary(max_size=300),
)  # fmt: skip
OPTIONS = [
    {"AVATAR_TELEMETRY_PRIVACY": privacy, "OTEL_SEMCONV_STABILITY_OPT_IN": semconv,
     "AVATAR_TELEMETRY_TRUST_INCOMING": trust, "AVATAR_TELEMETRY_TRUSTED_PROXIES": proxies}
    for privacy, trust, proxies in (
        ("strict", "ignore", ""), ("balanced", "link", "192.0.2.0/24"), ("off", "continue", ""),
    )
    for semconv in ("", "http", "http/dup")
]  # fmt: skip


class Pair:
    """The same requests on both sides: joined from blocks, and kept as objects."""

    def __init__(self, options: dict[str, str]) -> None:
        self.frames, self.kept = Frames(), KeptSpans()
        self.joined = Side(SpanWriter(self.frames), **options)
        self.objects = Side(self.kept, **options)

    def check(self, case: Case) -> None:
        self.frames.taken.clear()
        self.kept.spans.clear()
        for side in (self.joined, self.objects):
            side.serve(case)
        found = [part for _, _, payload in self.frames.taken for part in raw_sections(payload)]
        # A frame that is joined has the spans of the request before those of probes.
        spans = sorted(self.kept.spans, key=lambda span: span.name == "child")
        for expected in (spans, self.kept.spans):
            if found == official_sections(expected):
                break
        else:
            assert found == official_sections(spans)
        assert self.joined.failures == self.objects.failures


PAIRS = [Pair(options) for options in OPTIONS]


@pytest.fixture(autouse=True, scope="module")
def fixed_clocks() -> Iterator[None]:
    """Times are the same on both sides."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (request_spans, span_module, provider_module):
            patch.setattr(module, "time_ns", lambda: NOW)
        patch.setattr(request_module, "perf_counter", lambda: 12.5)
        yield


@given(st.sampled_from(PAIRS), CASES)
def test_the_same_bytes(pair: Pair, case: Case) -> None:
    """For any request, in each mode, a frame has the bytes of the official encoder."""
    pair.check(case)


@pytest.mark.parametrize("pair", PAIRS, ids=[",".join(each.values()) for each in OPTIONS])
@pytest.mark.parametrize(
    ("steps", "joins"),
    [
        ([], True), (["miss", "drawn"], True), (["hit", "query", "query"], True), (["view"], True),
        (["child"], True), (["under"], True), (["attribute"], False), (["clash"], False),
        (["error"], False), (["failed"], False),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_common_request_is_joined(
    pair: Pair, steps: list[str], joins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span gets attributes of its own only after a change, and then all of them."""
    made: list[str] = []
    original = pair.joined.tracing._end_objects

    def end_each(*args: Any) -> None:
        made.append("each")
        original(*args)

    monkeypatch.setattr(pair.joined.tracing, "_end_objects", end_each)
    environ = {"PATH_INFO": f"/avatar/{DIGEST}", "REQUEST_METHOD": "GET"}
    headers = [("Content-Type", "image/png"), ("Content-Length", "5")]
    pair.check(Case(environ, steps, "200 OK", headers, b"image"))
    assert bool(made) is not joins


def test_memos_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send other values with every request fill no memory."""
    monkeypatch.setattr(request_spans, "MAX_BLOCKS", 3)
    pair = Pair({})
    tracing = pair.joined.tracing
    memos = (tracing.targets, tracing.agents, tracing.addresses, tracing.people, tracing.sizes,
             tracing.endings, tracing.extras)  # fmt: skip
    for number in range(10):
        environ = {"PATH_INFO": f"/avatar/{os.urandom(16).hex()}", "REQUEST_METHOD": "GET",
                   "REMOTE_ADDR": f"192.0.{number}.1", "HTTP_USER_AGENT": f"agent {number}",
                   "QUERY_STRING": f"s={number}"}  # fmt: skip
        case = Case(environ, ["query"] * number, f"{200 + number} x", [], b"x" * number)
        pair.check(case)
        for memo in memos:
            assert len(memo) <= 3
            assert len(memo._older) <= 3


@pytest.mark.parametrize("name", ["targets", "agents", "people"])
def test_long_values_take_no_place(name: str) -> None:
    """Texts of a client are kept up to a length, and the spans are complete."""
    pair = Pair({})
    environ = {"PATH_INFO": f"/avatar/{DIGEST}/{'x' * 200}", "HTTP_USER_AGENT": "x" * 400,
               "REQUEST_METHOD": "GET", "QUERY_STRING": "x" * 600}  # fmt: skip
    pair.check(Case(environ))
    assert len(getattr(pair.joined.tracing, name)) == 0


def test_the_success_of_an_attempt_is_its_own() -> None:
    """A login that fails and one that succeeds may have the same status."""
    pair = Pair({})
    environ = {"PATH_INFO": "/accounts/login/", "REQUEST_METHOD": "POST"}
    for location in ("/accounts/profile/", "/accounts/login/", "/accounts/profile/"):
        pair.check(Case(environ, [], "302 Found", [("Location", location)]))
        successes = [span.attributes.get("ivatar.success") for span in pair.kept.spans]
        assert successes == [location != "/accounts/login/", None]


def test_a_trusted_caller_is_continued() -> None:
    """The server span is in the caller's trace, under the caller's span."""
    pair = Pair({"AVATAR_TELEMETRY_TRUST_INCOMING": "continue"})
    environ = {"PATH_INFO": f"/avatar/{DIGEST}", "REQUEST_METHOD": "GET",
               "HTTP_TRACEPARENT": PARENT}  # fmt: skip
    pair.check(Case(environ))
    trace_id, parent_id = (int(part, 16) for part in PARENT.split("-")[1:3])
    server = pair.kept.spans[-1]
    assert server.parent is not None
    assert (server.context.trace_id, server.parent.span_id) == (trace_id, parent_id)
