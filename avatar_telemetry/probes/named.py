"""Probe of the callables that a profile names: its generators, and an avatar cache of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import Around, Call, surround, when_imported
from avatar_telemetry.profile import Profile
from avatar_telemetry.request import CURRENT, AvatarRequest

Tell = Callable[[AvatarRequest, str, Any], None]


def install(profile: Profile) -> None:
    """Watch what the profile names."""
    for target in profile.generators:
        _watch(target, _tell_generated)
    for target in profile.avatar_cache:
        if ":" in target and "." in target:
            _watch(target, _tell_lookup)


def _tell_generated(request: AvatarRequest, target: str, result: Any) -> None:
    request.generated(target)


def _tell_lookup(request: AvatarRequest, target: str, result: Any) -> None:
    request.cache_lookup(target, hit=result is not None)


def _watch(target: str, tell: Tell) -> None:
    module, _, path = target.partition(":")

    def patch(imported: ModuleType) -> None:
        surround(imported, path, _around(tell, target))

    when_imported(module, patch)


def _around(tell: Tell, target: str) -> Around:
    def around(original: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            request = CURRENT.get()
            if request is not None:
                tell(request, target, result)
            return result

        return call

    return around
