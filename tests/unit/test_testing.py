"""Recording into memory, and the pages that show what an application can call."""

from __future__ import annotations

import re
from typing import Any

import pytest

import avatar_telemetry
from avatar_telemetry import Profile, Route, SettingsError, get_avatar_metrics
from avatar_telemetry.api.by_hand import AvatarMetrics
from avatar_telemetry.probes import POLICY
from avatar_telemetry.testing import recording
from avatar_telemetry.wsgi.worker import WORKER
from tests.support.paths import DOCS
from tests.support.wsgi_client import call


def block(page: str, first: str) -> str:
    """A piece of Python that a page shows, by its first line."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"```python\n({re.escape(first)}\n.*?)```", text, re.DOTALL)
    return str(found)


def answer(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def test_the_example_works() -> None:
    """The test that docs/testing.md shows passes as it stands there."""
    names: dict[str, Any] = {}
    exec(block("testing.md", "# test_shop.py"), names)
    names["test_a_picture_is_painted"]()


def test_everything_is_documented() -> None:
    """docs/api.md names all that can be called from the face of the package and by hand."""
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    verbs = {
        name for name in avatar_telemetry.__all__ if name.startswith(("trace_", "get_", "cur"))
    }
    recorders = {name for name in vars(AvatarMetrics) if name.startswith("record_")}
    assert len(verbs) == 5
    for name in verbs | (recorders - {"record_cache_miss"}):
        assert name in text
    assert "metrics.record_cache_miss" in text


def test_settings_are_those_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the test does not count, what is given does, and exporters are off."""
    monkeypatch.setenv("AVATAR_TELEMETRY_PRIVACY", "nonsense")
    given = {"AVATAR_TELEMETRY_METRICS_PATH": "/m", "OTEL_TRACES_EXPORTER": "otlp"}
    with recording(environ=given) as recorded:
        exchange = call(recorded.wrap(answer), path="/m", REMOTE_ADDR="127.0.0.1")
        assert b"ivatar_requests" in exchange.content
        assert recorded.value("avatar_telemetry_spans_total") == 0
    with pytest.raises(SettingsError), recording(environ={"AVATAR_TELEMETRY_PRIVACY": "x"}):
        pass


def test_each_recording_is_its_own() -> None:
    """One block sees nothing of another, and leaves nothing behind, after an error too."""
    find, privacy = WORKER.find, POLICY.privacy
    with recording(environ={"AVATAR_TELEMETRY_PRIVACY": "off"}) as first:
        assert POLICY.privacy == "off"
        with recording() as second:
            call(second.wrap(answer))
            get_avatar_metrics().record_cache_hit(80, "png")
            assert len(second.spans()) == 1
        get_avatar_metrics().record_cache_hit(80, "png")
        assert first.spans() == ()
        assert first.value("ivatar_requests_total") == 0
        assert first.value("ivatar_avatar_cache_hits_total") == 1
    with (
        pytest.raises(ZeroDivisionError),
        recording(environ={"AVATAR_TELEMETRY_PRIVACY": "off"}),
    ):
        raise ZeroDivisionError
    assert (WORKER.find, POLICY.privacy) == (find, privacy)


def test_the_one_span_of_a_name() -> None:
    """Asked for a span that is not there, or there twice, it says which there are."""
    with recording(Profile("one", routes=(Route(r"^/a\Z", "/a"),))) as recorded:
        wrapped = recorded.wrap(answer)
        with pytest.raises(LookupError, match="0 spans"):
            recorded.span("GET /a")
        for _ in range(2):
            call(wrapped, path="/a")
        with pytest.raises(LookupError, match=r"2 spans .* GET /a, GET /a"):
            recorded.span("GET /a")
