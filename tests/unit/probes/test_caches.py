"""The probes of caches and generators that a profile names."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from pymemcache.client.base import Client

from avatar_telemetry.probes import named
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from tests.support.recorder import DIGEST, Recorder
from tests.support.traced import Spans, traced
from tests.support.wsgi_client import call

AVATAR = f"/avatar/{DIGEST}"


def within(recorder: Recorder, function, path: str = AVATAR) -> None:
    def application(environ, start_response):
        function()
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"x"]

    call(recorder.wrap(application), path=path)


def looked_up(recorder: Recorder) -> tuple[float, float]:
    return (
        recorder.value("ivatar_avatar_cache_hits_total"),
        recorder.value("ivatar_avatar_cache_misses_total"),
    )


def test_a_dead_memcached(cached: Recorder) -> None:
    """A look-up that fails raises as it does, and says neither hit nor miss."""
    client = Client(("127.0.0.1", 1))
    with pytest.raises(OSError):
        within(cached, lambda: client.get("key"))
    assert looked_up(cached) == (0, 0)


def test_callables_that_a_profile_names(tmp_path: Path) -> None:
    """A generator and a cache of the application's own tell what they did."""
    module = ModuleType("a_shop")

    class Store:
        def get(self, key):
            return None

    class Painter:
        def draw(self, digest):
            return b"picture"

    module.Store, module.Painter = Store, Painter  # type: ignore[attr-defined]
    sys.modules["a_shop"] = module
    changes = {"generators": ("a_shop:Painter.draw", "not_installed:f"),
               "avatar_cache": ("a_shop:Store.get",)}  # fmt: skip
    recorder = Recorder(tmp_path).using(**changes)
    named.install(recorder.profile)
    within(recorder, lambda: (Store().get("key"), Painter().draw("digest")))
    assert looked_up(recorder) == (0, 1)
    assert recorder.value("ivatar_avatars_generated_total", source="generated") == 1
    assert Painter().draw("outside of a request") == b"picture"
    recorder.book.detach()
    del sys.modules["a_shop"]


def test_ivatars_names_are_well_formed() -> None:
    """What ivatar's profile names can be watched as soon as it is imported."""
    assert all(":" in target for target in IVATAR.generators)


def draw_nothing(digest: str) -> str:
    """A generator that is a function, and was imported by name."""
    if digest == "bad":
        raise ValueError("bob@example.com")
    return "picture"


MODULE = sys.modules[__name__]
TARGET = f"{__name__}:draw_nothing"


def test_a_generator_that_was_imported_by_name(tmp_path: Path, monkeypatch) -> None:
    """A function is watched where it had been imported before; its span bears its name only."""
    user = ModuleType("a_user_of_it")
    user.paint = draw_nothing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_user_of_it", user)
    monkeypatch.setattr(MODULE, "draw_nothing", draw_nothing)
    recorder = Recorder(tmp_path).using(generators=(TARGET,))
    named.install(recorder.profile)
    spans = Spans()

    def work() -> None:
        with traced(spans):
            assert user.paint("secret") == "picture"

    within(recorder, work)
    assert recorder.value("ivatar_avatars_generated_total", source="generated") == 1
    assert spans.attributes("avatar.draw") == [{"ivatar.generator": TARGET}]
    assert "secret" not in spans.text()
    recorder.book.detach()


def test_a_generator_that_fails(tmp_path: Path) -> None:
    """Its exception passes; no picture was drawn."""
    recorder = Recorder(tmp_path)
    spans = Spans()

    def work() -> None:
        with traced(spans), pytest.raises(ValueError):
            named._around_generator(TARGET)(draw_nothing)("bad")

    within(recorder, work)
    assert recorder.value("ivatar_avatars_generated_total") == 0
    assert spans.attributes("avatar.draw") == [
        {"ivatar.generator": TARGET, "error.type": "ValueError"}
    ]
    assert "bob" not in spans.text()
    recorder.book.detach()
