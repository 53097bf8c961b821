"""Probe of Django's caches: hits and misses of lookups, never a key or a value.

A backend is observed from its creation by ``django.core.cache.caches``, the only place that relates
an instance to its alias; it may be of any class. Its name in a profile is ``django:ALIAS``.
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
"""``(result, arguments, keyword arguments) -> hit``."""


class Backend(NamedTuple):
    """One observed backend object."""

    instance: Callable[[], Any]
    name: str
    attributes: dict[str, str]


# By identity: a backend may be equal to another, or not hashable.
_BACKENDS: dict[int, Backend] = {}
# The methods of a backend call one another ("get_many" calls "get", a subclass its parent): within
# a call of one backend its other calls are not recorded.
_INSIDE: ContextVar[object] = ContextVar("avatar_telemetry.django_cache", default=None)


def install() -> None:
    """Observe every backend that Django makes or has made."""
    when_imported("django.core.cache", _patch)


def _patch(module: ModuleType) -> None:
    base = module.BaseCache
    surround(module, "CacheHandler.create_connection", functools.partial(_around_create, base))
    for alias, backend in _made_before(module.caches):
        _observe(base, backend, alias)


def _made_before(caches: Any) -> Iterator[tuple[str, Any]]:
    # Otherwise no cache was used yet, and access to one would load Django's settings.
    if "settings" in vars(caches):
        for alias in caches:
            # caches[alias] would make a missing backend.
            backend = getattr(caches._connections, alias, None)
            if backend is not None:
                yield alias, backend


def _around_create(base: type, original: Call) -> Call:
    def create_connection(self: Any, alias: str) -> Any:
        backend = original(self, alias)
        _observe(base, backend, alias)
        return backend

    return create_connection


def _observe(base: type, backend: Any, alias: str) -> None:
    if not isinstance(backend, base):
        return  # a factory may return any object
    kind: Any = type(backend)
    if _patch_class(kind):
        key = id(backend)
        _BACKENDS[key] = Backend(
            ref(backend, lambda _: _BACKENDS.pop(key, None)),
            PREFIX + alias,
            {"cache.name": alias, "cache.backend": kind.__name__},
        )


@functools.cache
def _patch_class(backend: type) -> bool:
    """Patch a class of backends once; return whether that was possible."""
    try:
        for name, around in _METHODS.items():
            surround(backend, name, around)
    except (AttributeError, TypeError):
        LOGGER.warning("no probe for the cache %s: its class cannot be patched",
                       backend.__qualname__, exc_info=True)  # fmt: skip
        return False
    return True


def _backend_of(instance: Any) -> Backend:
    backend = _BACKENDS.get(id(instance))
    if backend is not None and backend.instance() is instance:
        return backend
    # The application made it without Django's settings.
    return Backend(lambda: instance, PREFIX, {"cache.backend": type(instance).__name__})


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
            backend = _backend_of(self)
            token = _INSIDE.set(self)
            try:
                with child_span(request, "cache.get", backend.attributes) as span:
                    value = original(self, *args, **kwargs)
                    hit = _report(request, backend.name, found, value, args, kwargs)
                    if hit is not None:
                        span.set_attribute("cache.hit", hit)
            finally:
                _INSIDE.reset(token)
            return value

        return look_up

    return around


def _report(
    request: AvatarRequest,
    name: str,
    found: Found,
    value: Any,
    args: Arguments,
    kwargs: Keywords,
) -> bool | None:
    """Report a lookup to the request; return whether it was a hit, ``None`` where unknown."""
    try:
        hit = found(value, args, kwargs)
        request.cache_lookup(name, hit=hit)
    except Exception:  # noqa: BLE001 - a value may fail in the comparison
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
            with child_span(request, "cache.set", _backend_of(self).attributes):
                return original(self, *args, **kwargs)
        finally:
            _INSIDE.reset(token)

    return store


def _around_other(original: Call) -> Call:
    """Return a method whose calls of other methods are not recorded as lookups."""

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
