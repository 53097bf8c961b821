"""The probe of Django's caches, with the backends that need no server."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django.core.cache
import pytest
from asgiref.sync import ThreadSensitiveContext
from django.core.cache import CacheHandler
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command

from avatar_telemetry.probes import django_cache
from tests.support import cache_requests
from tests.support.cache_requests import within
from tests.support.django_setup import set_up
from tests.support.recorder import DIGEST, Recorder
from tests.support.traced import Spans, traced

set_up()
BACKENDS = "django.core.cache.backends."
ALIAS = "filesystem"
SECRET = "https://example.com/avatar/" + DIGEST


class Early(LocMemCache):
    """A backend that was written before the probe was installed."""


EARLY_HANDLER = CacheHandler({ALIAS: {"BACKEND": f"{__name__}.Early", "LOCATION": "early"}})
EARLY_HANDLER[ALIAS].get("early")
django_cache.install()


class Late(FileBasedCache):
    """One that was written after it; its parent's method is called by its own."""

    def get(self, key, default=None, version=None):
        return super().get(key, default, version)

    def get_many(self, keys, version=None):
        return {key: self.get(key) for key in keys if self.get(key) is not None}


class Plain(BaseCache):
    """One that leaves everything to ``BaseCache`` that this has."""

    def __init__(self, location, params):
        super().__init__(params)
        self.values: dict[str, Any] = {}

    def add(self, key, value, timeout=None, version=None):
        return self.values.setdefault(self.make_key(key, version), value) is value

    def get(self, key, default=None, version=None):
        return self.values.get(self.make_key(key, version), default)

    def set(self, key, value, timeout=None, version=None):
        self.values[self.make_key(key, version)] = value

    def touch(self, key, timeout=None, version=None):
        return self.get(key, version=version) is not None

    def clear(self):
        self.values.clear()

    def delete(self, key, version=None):
        return self.values.pop(self.make_key(key, version), None) is not None


class Alike(Plain):
    """One whose objects are all equal, and have no hash."""

    def __eq__(self, other):
        return isinstance(other, Alike)

    __hash__ = None  # type: ignore[assignment]


class Broken(Plain):
    """One that fails."""

    def get(self, key, default=None, version=None):
        raise OSError(f"no {key}")


def caches_of(backend: str, location: str, **options: Any) -> CacheHandler:
    kind = backend if "." in backend else f"{__name__}.{backend}"
    return CacheHandler({
        name: {"BACKEND": kind, "LOCATION": location, "KEY_PREFIX": name, **options}
        for name in (ALIAS, "default")
    })  # fmt: skip


@pytest.fixture(
    params=["locmem.LocMemCache", "filebased.FileBasedCache", "db.DatabaseCache",
            "Late", "Plain", "Alike"]
)  # fmt: skip
def handler(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheHandler]:
    """Two caches of every kind of backend."""
    name: str = request.param
    location = str(tmp_path)
    if "Database" in name:
        location = "cache_table"
        call_command("createcachetable", location, verbosity=0)
    yield from used(caches_of(BACKENDS + name if "." in name else name, location))


def used(handler: CacheHandler) -> Iterator[CacheHandler]:
    handler[ALIAS].clear()
    yield handler
    handler.close_all()


def looked_up(recorder: Recorder, function: Callable[[], object]) -> tuple[float, ...]:
    """Hits and misses that one request with this in it adds."""
    before = cache_requests.looked_up(recorder)
    within(recorder, function)
    after = cache_requests.looked_up(recorder)
    return tuple(now - then for now, then in zip(after, before, strict=True))


HIT, MISS, NEITHER = (1, 0), (0, 1), (0, 0)
LOOK_UPS = [
    pytest.param(lambda cache: cache.get("there"), HIT, id="there"),
    pytest.param(lambda cache: cache.get("nothing"), MISS, id="not there"),
    pytest.param(lambda cache: cache.get("nothing", "default"), MISS, id="default"),
    pytest.param(lambda cache: cache.get("nothing", default="x"), MISS, id="default by name"),
    pytest.param(lambda cache: cache.get(key="there"), HIT, id="key by name"),
    pytest.param(lambda cache: cache.get("there", version=2), MISS, id="another version"),
    pytest.param(lambda cache: cache.get_many(["nothing", "there"]), HIT, id="one of many"),
    pytest.param(lambda cache: cache.get_many(["nothing", "nix"]), MISS, id="none of many"),
    pytest.param(lambda cache: cache.get_or_set("new", "x"), MISS, id="made"),
    pytest.param(lambda cache: cache.get_or_set("there", "x"), HIT, id="not made"),
    pytest.param(lambda cache: "there" in cache, HIT, id="in"),
    pytest.param(lambda cache: (cache.get("nothing"), cache.get("there")), MISS, id="first"),
    pytest.param(lambda cache: cache.set("x", 1), NEITHER, id="set"),
    pytest.param(lambda cache: cache.add("x", 1), NEITHER, id="add"),
    pytest.param(lambda cache: cache.set_many({"x": 1}), NEITHER, id="set many"),
    pytest.param(lambda cache: cache.incr("number"), NEITHER, id="increment"),
    pytest.param(lambda cache: cache.delete("x"), NEITHER, id="delete"),
]


def test_every_backend(recorder: Recorder, handler: CacheHandler) -> None:
    """A request's first look-up of the avatar cache is a hit or a miss, however it is asked."""
    for parameters in LOOK_UPS:
        cache = handler[ALIAS]
        cache.set("there", "value")
        cache.set("number", 1)
        cache.delete("new")
        look_up, expected = parameters.values
        assert looked_up(recorder, lambda: look_up(cache)) == expected, parameters.id  # noqa: B023


def test_asynchronous_look_ups(recorder: Recorder) -> None:
    """They call the others in a thread, and belong to the same request."""
    cache = caches_of("Plain", "")[ALIAS]
    cache.set("there", "value")

    async def get() -> None:
        async with ThreadSensitiveContext():  # which ends the thread
            await cache.aget("there")

    assert looked_up(recorder, lambda: asyncio.run(get())) == HIT


def test_only_the_profiles_alias_counts(recorder: Recorder, handler: CacheHandler) -> None:
    """Another alias is another cache, even of the same class."""
    handler["default"].set("there", "value")
    assert looked_up(recorder, lambda: handler["default"].get("there")) == NEITHER
    assert looked_up(recorder, lambda: handler[ALIAS].get("there")) == MISS


def test_what_was_made_before_the_probe(recorder: Recorder, monkeypatch) -> None:
    """A backend that Django made before the probe came is known by its alias, and no other made."""
    handler = CacheHandler({
        name: {"BACKEND": BACKENDS + "dummy.DummyCache"} for name in (ALIAS, "unused")
    })  # fmt: skip
    original = CacheHandler.create_connection.__wrapped__  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(CacheHandler, "create_connection", original)
        cache = handler[ALIAS]
    monkeypatch.setattr(django.core.cache, "caches", handler)
    django_cache._patch(django.core.cache)
    assert looked_up(recorder, lambda: cache.get("there")) == MISS
    assert handler.all(initialized_only=True) == [cache]


def test_settings_are_not_loaded_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody has asked for a cache yet, the probe does not ask for the settings either."""
    handler = CacheHandler()
    monkeypatch.setattr(django.core.cache, "caches", handler)
    django_cache._patch(django.core.cache)
    assert "settings" not in vars(handler)


def test_a_class_from_before_the_probe(recorder: Recorder) -> None:
    """A subclass that existed before is watched from its next use on."""
    handler = CacheHandler(EARLY_HANDLER.settings)
    handler[ALIAS].set("there", 1)
    assert looked_up(recorder, lambda: handler[ALIAS].get("there")) == HIT


def test_outside_of_a_request(handler: CacheHandler) -> None:
    """Everything works as it does without a probe."""
    cache = handler[ALIAS]
    cache.set("there", "value")
    cache.set("number", 1)
    assert cache.get("there") == "value"
    assert cache.get("nothing", "default") == "default"
    assert cache.get_many(["there", "nothing"]) == {"there": "value"}
    assert cache.incr("number", 2) == 3
    assert cache.touch("there")


def test_a_cache_that_the_application_made_itself(recorder: Recorder) -> None:
    """It belongs to no alias, so it is no avatar cache; its look-ups are shown."""
    assert caches_of("Plain", "")[ALIAS]
    spans = Spans()
    cache = Plain("", {})

    def work() -> None:
        with traced(spans):
            cache.get("there")

    assert looked_up(recorder, work) == NEITHER
    assert spans.attributes("cache.get") == [{"cache.backend": "Plain", "cache.hit": False}]


def test_spans_say_nothing_of_a_key(recorder: Recorder, handler: CacheHandler) -> None:
    """One span for each call of the application, with hit or miss, and without what was asked."""
    spans = Spans()
    cache = handler[ALIAS]

    def work() -> None:
        with traced(spans):
            cache.get(SECRET)
            cache.set(SECRET, "private")
            cache.get_many([SECRET])

    within(recorder, work)
    assert spans.names == ["cache.get", "cache.set", "cache.get"]
    names = {"cache.name": ALIAS, "cache.backend": type(cache).__name__}
    assert spans.attributes("cache.get") == [
        {**names, "cache.hit": False}, {**names, "cache.hit": True}
    ]  # fmt: skip
    assert spans.attributes("cache.set") == [names]
    assert DIGEST not in spans.text() and "private" not in spans.text()


def test_a_cache_that_raises(recorder: Recorder) -> None:
    """The application gets its exception; there was neither hit nor miss, and the span says so."""
    spans = Spans()
    cache = caches_of("Broken", "")[ALIAS]

    def work() -> None:
        with traced(spans), pytest.raises(OSError, match="no "):
            cache.get(SECRET)

    assert looked_up(recorder, work) == NEITHER
    (attributes,) = spans.attributes("cache.get")
    assert attributes["error.type"] == "OSError"
    assert "cache.hit" not in attributes and DIGEST not in spans.text()


def test_a_value_that_cannot_be_judged(tmp_path: Path) -> None:
    """What a cache returns may refuse to be looked at; the application gets it all the same."""

    class Odd:
        def __bool__(self):
            raise ValueError("ambiguous")

    recorder = Recorder(tmp_path)
    cache = caches_of("Plain", "")[ALIAS]
    cache.get_many = type(cache).get_many.__get__(cache)
    odd = Odd()
    around = django_cache._around_lookup(django_cache._found_any)
    got = []
    within(recorder, lambda: got.append(around(lambda self, keys: odd)(cache, ["x"])))
    assert got == [odd]
    assert recorder.value("avatar_telemetry_internal_errors_total", where="probes") == 1
    recorder.book.detach()


def test_what_is_no_backend_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A factory may make anything for an alias; it is given as it is."""
    handler = CacheHandler({ALIAS: {"BACKEND": "tests.unit.probes.test_django_cache.make_dict"}})
    with caplog.at_level(logging.WARNING):
        assert handler[ALIAS] == {}
    assert not caplog.records


def make_dict(location, params):
    return {}


def test_nothing_is_kept_of_a_backend_that_is_gone() -> None:
    """What is known of a backend goes with it, as of each greenlet's that had one."""

    def use() -> None:
        handler = caches_of("Plain", "")
        assert id(handler[ALIAS]) in django_cache._BACKENDS
        assert handler[ALIAS].get("x") is None

    gc.collect()
    before = set(django_cache._BACKENDS)
    contextvars.copy_context().run(use)
    gc.collect()
    assert set(django_cache._BACKENDS) <= before
