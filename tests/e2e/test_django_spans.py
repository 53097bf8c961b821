"""The spans of an unmodified Django project under a real gunicorn, as a collector gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.django_client import FATAL_PREFIX
from tests.support.django_site import DjangoSite
from tests.support.gunicorn_server import GunicornServer, Serve, eventually
from tests.support.otlp_sink import OtlpSink
from tests.support.rows import PRELOAD, by_default
from tests.support.stand_in import gravatar

DIGEST = "0123456789abcdef" * 2
SCOPE = "avatar_telemetry"
Tree = list[tuple[str, Any]]


@pytest.fixture
def environ(sink: OtlpSink) -> dict[str, str]:
    """Spans are sent, soon."""
    return {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


class Traces:
    """The traces of a server that is asked one thing after the other.

    Args:
        server: asked.
        sink: gets its spans.
    """

    def __init__(self, server: GunicornServer, sink: OtlpSink) -> None:
        self._server = server
        self._sink = sink
        self._seen: set[str] = set()

    def of(self, path: str, status: int) -> list[Any]:
        """Ask, and wait for the server span; all spans of its trace by their start."""
        answer = self._server.get(path)
        assert answer.status == status, (path, self._server.log())

        def trace() -> list[Any]:
            spans = [span for span in self._sink.spans() if span.trace_id not in self._seen]
            return spans if any(span.kind == "SERVER" for span in spans) else []

        found = eventually(trace, what="the spans of the request")
        assert len({span.trace_id for span in found}) == 1
        self._seen |= {span.trace_id for span in found}
        return sorted(found, key=lambda span: span.proto.start_time_unix_nano)


def tree(spans: list[Any], parent: str = "") -> Tree:
    """Names, with those of the spans inside each."""
    return [
        (span.name, tree(spans, span.span_id))
        for span in spans
        if span.proto.parent_span_id.hex() == parent
    ]


def attributes(spans: list[Any], name: str) -> dict[str, Any]:
    """The attributes of the first span of a name."""
    return next(dict(span.attributes) for span in spans if span.name == name)


def flat(names: Tree) -> list[str]:
    return [each for name, inside in names for each in (name, *flat(inside))]


def ours(names: Tree) -> Tree:
    """Without what other probes show."""
    return [
        (name, ours(inside)) for name, inside in names
        if name.startswith(("GET /", "avatar.", "cache.", "image."))
    ]  # fmt: skip


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_the_spans_of_an_avatar(
    serve: Serve, tmp_path: Path, sink: OtlpSink, environ: dict[str, str], preload: bool
) -> None:
    """A drawn avatar shows its look-up, its generator and its save; a cached one its look-up."""
    server = DjangoSite(serve, tmp_path, **environ).wrapped(workers=1, preload_app=preload)
    traces = Traces(server, sink)
    path = f"/avatar/{DIGEST}?d=monsterid&f=y"
    drawn, cached = traces.of(path, 200), traces.of(path, 200)
    root = "GET /avatar/{digest}"
    assert ours(tree(drawn)) == [
        (root, [("avatar.generate_png", [
            ("cache.get", []), ("avatar.draw", []), ("image.save", []), ("cache.set", []),
        ])])
    ]  # fmt: skip
    assert ours(tree(cached)) == [(root, [("avatar.cache_hit", [("cache.get", [])])])]
    cache = {"cache.name": "filesystem", "cache.backend": "FileBasedCache"}
    assert attributes(drawn, "cache.get") == {**cache, "cache.hit": False}
    assert attributes(cached, "cache.get") == {**cache, "cache.hit": True}
    assert attributes(drawn, "avatar.draw") == {"ivatar.generator": "monsterid.id:build_monster"}
    assert attributes(drawn, root)["ivatar.view"] == "avatar"
    assert DIGEST not in str([span.proto for span in (*drawn, *cached)])


def test_a_generator_that_raises(
    serve: Serve, tmp_path: Path, sink: OtlpSink, environ: dict[str, str]
) -> None:
    """The request's span tells what Django made a 500 of, and the generator's that it was there."""
    server = DjangoSite(serve, tmp_path, **environ).wrapped(workers=1)
    spans = Traces(server, sink).of(f"/avatar/{FATAL_PREFIX}{DIGEST[4:]}?d=monsterid&f=y", 500)
    root = next(span for span in spans if span.kind == "SERVER")
    assert dict(root.attributes)["error.type"] == "ValueError"
    assert [event.name for event in root.proto.events] == ["exception"]
    assert attributes(spans, "avatar.draw")["error.type"] == "ValueError"


def test_a_photo_and_a_proxied_picture(
    serve: Serve, tmp_path: Path, sink: OtlpSink, environ: dict[str, str], certificate: Path,
    memcached: str,
) -> None:  # fmt: skip
    """What the proxy asks memcached and Gravatar for is not told; the picture is opened only."""
    with gravatar(certificate) as url:
        server = DjangoSite(
            serve, tmp_path, **environ, SSL_CERT_FILE=str(certificate),
            PORTRAITS_MEMCACHED=memcached, PORTRAITS_GRAVATAR=url,
        ).wrapped(workers=1)  # fmt: skip
        spans = Traces(server, sink).of(f"/gravatarproxy/a{DIGEST[1:]}", 200)
    names = [name for name in flat(tree(spans)) if name.startswith(("cache.", "image."))]
    assert names == ["cache.get", "cache.get", "image.open"]
    assert attributes(spans, "cache.get")["cache.name"] == "default"
    assert DIGEST[1:] not in str([span.proto for span in spans])


def test_pages_that_no_profile_knows(
    serve: Serve, tmp_path: Path, sink: OtlpSink, environ: dict[str, str]
) -> None:
    """With the generic profile, a page's span goes by Django's own pattern and view."""
    server = DjangoSite(serve, tmp_path, **environ).wrapped(
        "avatar_telemetry.profiles.generic:PROFILE", workers=1
    )
    spans = Traces(server, sink).of("/accounts/profile/bob@example.com", 302)
    root = next(span for span in spans if span.kind == "SERVER")
    assert root.name == "GET /accounts/profile/{username}"
    told = dict(root.attributes)
    assert told["http.route"] == "/accounts/profile/{username}"
    assert told["ivatar.view"] == "profile_of"
    assert "bob" not in str(root.proto)
