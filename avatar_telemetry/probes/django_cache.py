"""Probe of Django's caches: whether a look-up found something, never what or under which key.

A backend is watched from the moment at which ``django.core.cache.caches`` makes one for an alias:
only there is it known which alias an instance belongs to. So it makes no difference whose class
that is, or when it was written. A profile calls the cache ``django:ALIAS``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any, NamedTuple
from weakref import ref

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.probes.child import child_span
from avatar_telemetry.probes.patching import Around, Call, surround, when_imported
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

PREFIX = "django:"

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Found = Callable[[Any, Arguments, Keywords], bool]
"""``(result, arguments, keyword arguments) -> whether the cache had it``."""


class Known(NamedTuple):
    """What is known of one backend object."""

    backend: Callable[[], Any]
    name: str
    attributes: dict[str, str]


# By identity: a backend may compare equal to another, or have no hash at all.
_KNOWN: dict[int, Known] = {}
# A backend's methods call one another ("get_many" calls "get", a subclass its parent), so within a
# call of one backend its other calls are not seen.
_INSIDE: ContextVar[object] = ContextVar("avatar_telemetry.django_cache", default=None)


def install() -> None:
    """Watch every backend that Django makes, and those that it has made."""
    when_imported("django.core.cache", _patch)


def _patch(module: ModuleType) -> None:
    base = module.BaseCache
    surround(module, "CacheHandler.create_connection", functools.partial(_around_create, base))
    for alias, backend in _made_before(module.caches):
        _watch(base, backend, alias)


def _made_before(caches: Any) -> Iterator[tuple[str, Any]]:
    # Without this, nobody has asked for a cache yet, and to ask would load Django's settings.
    if "settings" in vars(caches):
        for alias in caches:
            # caches[alias] would make the ones that are not there.
            backend = getattr(caches._connections, alias, None)
            if backend is not None:
                yield alias, backend


def _around_create(base: type, original: Call) -> Call:
    def create_connection(self: Any, alias: str) -> Any:
        backend = original(self, alias)
        _watch(base, backend, alias)
        return backend

    return create_connection


def _watch(base: type, backend: Any, alias: str) -> None:
    if not isinstance(backend, base):
        return  # a factory may make anything
    kind: Any = type(backend)
    if _patch_class(kind):
        key = id(backend)
        _KNOWN[key] = Known(
            ref(backend, lambda _: _KNOWN.pop(key, None)),
            PREFIX + alias,
            {"cache.name": alias, "cache.backend": kind.__name__},
        )


@functools.cache
def _patch_class(backend: type) -> bool:
    """Watch a class of backends, once; whether that worked."""
    try:
        for name, around in _METHODS.items():
            surround(backend, name, around)
    except (AttributeError, TypeError):
        LOGGER.warning("no probe for the cache %s: it is not as expected", backend.__qualname__,
                       exc_info=True)  # fmt: skip
        return False
    return True


def _know(backend: Any) -> Known:
    known = _KNOWN.get(id(backend))
    if known is not None and known.backend() is backend:
        return known
    # The application made it by itself, past Django's settings.
    return Known(lambda: backend, PREFIX, {"cache.backend": type(backend).__name__})


def _found_value(value: Any, args: Arguments, kwargs: Keywords) -> bool:
    default = args[1] if len(args) > 1 else kwargs.get("default")
    return value is not None and value is not default


def _found_any(values: Any, args: Arguments, kwargs: Keywords) -> bool:
    return bool(values)


def _around_lookup(found: Found) -> Around:
    def around(original: Call) -> Call:
        def look_up(self: Any, *args: Any, **kwargs: Any) -> Any:
            request = CURRENT.get()
            if request is None or _INSIDE.get() is self:
                return original(self, *args, **kwargs)
            known = _know(self)
            token = _INSIDE.set(self)
            try:
                with child_span(request, "cache.get", known.attributes) as span:
                    value = original(self, *args, **kwargs)
                    hit = _tell(request, known.name, found, value, args, kwargs)
                    if hit is not None:
                        span.set_attribute("cache.hit", hit)
            finally:
                _INSIDE.reset(token)
            return value

        return look_up

    return around


def _tell(
    request: AvatarRequest,
    name: str,
    found: Found,
    value: Any,
    args: Arguments,
    kwargs: Keywords,
) -> bool | None:
    """Tell the request of a look-up; whether it was a hit, ``None`` where that cannot be said."""
    try:
        hit = found(value, args, kwargs)
        request.cache_lookup(name, hit=hit)
    except Exception:  # noqa: BLE001 - what a cache returns may refuse to be looked at
        request.guard.failed("probes")
        return None
    return hit


def _around_store(original: Call) -> Call:
    def store(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = CURRENT.get()
        if request is None or _INSIDE.get() is self:
            return original(self, *args, **kwargs)
        token = _INSIDE.set(self)
        try:
            with child_span(request, "cache.set", _know(self).attributes):
                return original(self, *args, **kwargs)
        finally:
            _INSIDE.reset(token)

    return store


def _around_other(original: Call) -> Call:
    """What asks the cache on its way to something else is no look-up."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _INSIDE.set(self)
        try:
            return original(self, *args, **kwargs)
        finally:
            _INSIDE.reset(token)

    return call


_METHODS: dict[str, Around] = {
    "get": _around_lookup(_found_value),
    "get_many": _around_lookup(_found_any),
    "has_key": _around_lookup(_found_any),
    "set": _around_store,
    "set_many": _around_store,
    "add": _around_store,
    "incr": _around_other,
    "incr_version": _around_other,
    "touch": _around_other,
}
