"""Probe of Pillow: where the time of an avatar goes, and that a photo was opened and saved.

Pillow decodes late: a photo is read when it is first scaled or saved, not when it is opened. What
a generator does to draw is not shown beside the generator.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from opentelemetry.trace import Span

from avatar_telemetry.http.labels import OTHER
from avatar_telemetry.probes.child import INSIDE, NOTHING, child_span
from avatar_telemetry.probes.patching import (
    Around,
    Call,
    surround,
    surround_bound,
    when_imported,
)
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

MAX_SPANS = 32
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
            shown = request.image_steps < MAX_SPANS
            token = INSIDE.set(True)
            try:
                with child_span(request, name, {}) if shown else NOTHING as span:
                    result = original(*args, **kwargs)
                    if span.is_recording():
                        image = args[0] if result is None else result
                        _describe(request, span, image, _wanted_format(args, kwargs))
            finally:
                INSIDE.reset(token)
            request.image_step(step)
            return result

        return call

    return around


def _wanted_format(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``save(file, format)`` was asked for; other calls have no such argument there."""
    return kwargs.get("format") or (args[2] if len(args) > 2 else None)


def _describe(request: AvatarRequest, span: Span, image: Any, wanted: Any) -> None:
    """Tell the size of what came of a step; its format where it has one, as in a file it has."""
    try:
        width, height = image.size
        span.set_attributes({"image.width": width, "image.height": height})
        form = wanted if isinstance(wanted, str) else image.format
        if form is not None:
            span.set_attribute("image.format", _FORMATS.get(form.upper(), OTHER))
    except Exception:  # noqa: BLE001 - an application may have an image class of its own
        request.guard.failed("probes")
