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
from tests.support.recorder import DIGEST, Recorder
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
    recorder.book.detach()


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
