"""Probe of the callables that a profile names: its generators and its avatar caches."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from avatar_telemetry.probes.child import INSIDE, child_span
from avatar_telemetry.probes.patching import (
    Around,
    Call,
    surround,
    surround_bound,
    when_imported,
)
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.wsgi.request import CURRENT

GENERATOR = "ivatar.generator"
"""The attribute with the generator's name in the profile."""


def install(profile: Profile) -> None:
    """Observe the callables that the profile names."""
    for target in profile.generators:
        _observe(target, _around_generator(target))
    for target in profile.avatar_cache:
        if ":" in target and "." in target:
            _observe(target, _around_lookup(target))


def _observe(target: str, around: Around) -> None:
    module, _, path = target.partition(":")
    # A later import gets the patched callable; an earlier one has to be replaced.
    patch_name = surround_bound if module in sys.modules else surround

    def patch(imported: ModuleType) -> None:
        patch_name(imported, path, around)

    when_imported(module, patch)


def _around_generator(target: str) -> Around:
    def around(original: Call) -> Call:
        def draw(*args: Any, **kwargs: Any) -> Any:
            request = CURRENT.get()
            if request is None:
                return original(*args, **kwargs)
            token = INSIDE.set(True)
            try:
                with child_span(request, "avatar.draw", {GENERATOR: target}):
                    result = original(*args, **kwargs)
            finally:
                INSIDE.reset(token)
            request.generated(target)
            return result

        return draw

    return around


def _around_lookup(target: str) -> Around:
    def around(original: Call) -> Call:
        def look_up(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            request = CURRENT.get()
            if request is not None:
                request.cache_lookup(target, hit=result is not None)
            return result

        return look_up

    return around
