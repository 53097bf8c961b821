"""Probe of Pillow: where the time of an avatar goes, and that a photo was opened and saved.

Pillow decodes late: a photo is read when it is first scaled or saved, not when it is opened. What
a generator does to draw is not shown beside the generator.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from opentelemetry.trace import Span

from avatar_telemetry.labels import OTHER
from avatar_telemetry.probes.child import INSIDE, NOTHING, child_span
from avatar_telemetry.probes.patching import (
    Around,
    Call,
    surround,
    surround_bound,
    when_imported,
)
from avatar_telemetry.request import CURRENT, AvatarRequest

MOST_SPANS = 32
"""Of one request: an animation may have hundreds of frames, each scaled for itself."""

_FORMATS = {form.upper(): form for form in ("png", "gif", "webp", "avif")} | {"JPEG": "jpg"}


def install() -> None:
    """Watch ``Image.open``, and ``resize``, ``thumbnail`` and ``save`` of every image."""
    imported_before = "PIL.Image" in sys.modules

    def patch(module: ModuleType) -> None:
        put = surround_bound if imported_before else surround
        put(module, "open", _around("open"))
        for step in ("resize", "thumbnail", "save"):
            surround(module, f"Image.{step}", _around(step))

    when_imported("PIL.Image", patch)


def _around(step: str) -> Around:
    name = f"image.{step}"

    def around(original: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            request = CURRENT.get()
            if request is None or INSIDE.get():
                return original(*args, **kwargs)
            shown = request.image_steps < MOST_SPANS
            token = INSIDE.set(True)
            try:
                with child_span(request, name, {}) if shown else NOTHING as span:
                    result = original(*args, **kwargs)
                    if span.is_recording():
                        _describe(request, span, result if step == "open" else args[0])
            finally:
                INSIDE.reset(token)
            request.image_step(step)
            return result

        return call

    return around


def _describe(request: AvatarRequest, span: Span, image: Any) -> None:
    try:
        width, height = image.size
        form = _FORMATS.get(image.format, OTHER)
        span.set_attributes({"image.format": form, "image.width": width, "image.height": height})
    except Exception:  # noqa: BLE001 - an application may have an image class of its own
        request.guard.failed("probes")
