"""The callables that a profile names: its generators, and an avatar cache of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from avatar_telemetry.probes import named
from avatar_telemetry.probes.child import INSIDE
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from tests.support.cache_requests import within
from tests.support.recorder import DIGEST, Recorder
from tests.support.traced import Spans, traced
from tests.support.wsgi_client import call

GENERATED = "ivatar_avatars_generated_total"
HITS, MISSES = "ivatar_avatar_cache_hits_total", "ivatar_avatar_cache_misses_total"


class Shop:
    """A module of the application with a generator and a cache, watched by name."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.inside: list[bool] = []
        self.found: Any = None
        self.error: Exception | None = None

    def draw(self, digest: str) -> bytes:
        self.inside.append(INSIDE.get())
        if self.error is not None:
            raise self.error
        return b"picture"

    def look_up(self, key: str) -> Any:
        return self.found

    def serve(self, module: Any) -> None:
        """A request that looks the picture up, draws it, and then does other work."""

        def application(environ: Any, start_response: Any) -> list[bytes]:
            module.store.look_up("key")
            try:
                module.draw("digest")
            finally:
                self.inside.append(INSIDE.get())
            start_response("200 OK", [("Content-Type", "image/png")])
            return [b"picture"]

        call(self.recorder.wrap(application), path=f"/avatar/{DIGEST}")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Shop, Any]]:
    recorder = Recorder(tmp_path)
    shop = Shop(recorder)
    module: Any = ModuleType("a_named_shop")
    module.draw = lambda digest: shop.draw(digest)
    module.store = SimpleNamespace(look_up=lambda key: shop.look_up(key))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    shop.recorder = recorder.using(
        generators=("a_named_shop:draw",), avatar_cache=("a_named_shop:store.look_up", "pymemcache")
    )
    named.install(shop.recorder.profile)
    yield shop, module
    shop.recorder.book.detach()


@pytest.mark.parametrize(
    ("found", "hits"),
    [
        pytest.param(None, 0, id="nothing"),
        pytest.param(b"picture", 1, id="picture"),
        pytest.param(b"", 1, id="an empty value was there"),
    ],
)
def test_look_up(shop: tuple[Shop, Any], found: Any, hits: int) -> None:
    """Only ``None`` is a miss."""
    shop[0].found = found
    shop[0].serve(shop[1])
    recorder = shop[0].recorder
    assert (recorder.value(HITS), recorder.value(MISSES)) == (hits, 1 - hits)


def test_generator_is_known_while_it_draws(shop: tuple[Shop, Any]) -> None:
    """What a generator does is the generator's, and what comes after it is not."""
    shop[0].serve(shop[1])
    assert shop[0].inside == [True, False]
    assert shop[0].recorder.value(GENERATED, source="generated") == 1


def test_generator_that_fails(shop: tuple[Shop, Any]) -> None:
    """Its exception passes, no picture was made, and the request is no longer inside of it."""
    shop[0].error = ValueError("no picture")
    with pytest.raises(ValueError, match="no picture"):
        shop[0].serve(shop[1])
    assert shop[0].inside == [True, False]
    assert shop[0].recorder.value(GENERATED) == 0


def test_outside_of_a_request(shop: tuple[Shop, Any]) -> None:
    """Without a request both work, and nothing is counted."""
    assert shop[1].draw("digest") == b"picture"
    assert shop[1].store.look_up("key") is None
    assert shop[0].inside == [False]
    assert shop[0].recorder.value(GENERATED) == shop[0].recorder.value(MISSES) == 0


def test_callables_that_a_profile_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator and a cache of the application's own tell what they did."""
    module = ModuleType("a_shop")

    class Store:
        def get(self, key):
            return None

    class Painter:
        def draw(self, digest):
            return b"picture"

    module.Store, module.Painter = Store, Painter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_shop", module)
    changes = {"generators": ("a_shop:Painter.draw", "not_installed:f"),
               "avatar_cache": ("a_shop:Store.get",)}  # fmt: skip
    recorder = Recorder(tmp_path).using(**changes)
    named.install(recorder.profile)
    within(recorder, lambda: (Store().get("key"), Painter().draw("digest")))
    assert recorder.value(MISSES) == 1
    assert recorder.value("ivatar_avatars_generated_total", source="generated") == 1
    assert Painter().draw("outside of a request") == b"picture"
    recorder.book.detach()


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


def test_a_span_of_a_generator_that_fails(tmp_path: Path) -> None:
    """Its span has the class of the exception, not its text."""
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
