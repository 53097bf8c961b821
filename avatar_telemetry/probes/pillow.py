"""Probe of Pillow: spans of the steps of an image.

Pillow decodes late: a photo is read when it is first scaled or saved, not when it is opened. The
steps of a generator have no spans, because the generator has one.
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
"""Spans of one request: an animation may have hundreds of frames, each scaled."""

_FORMATS = {form.upper(): form for form in ("png", "gif", "webp", "avif")} | {"JPEG": "jpg"}


def install() -> None:
    """Observe ``Image.open``, and ``resize``, ``thumbnail`` and ``save`` of every image."""
    imported_before = "PIL.Image" in sys.modules

    def patch(module: ModuleType) -> None:
        patch_name = surround_bound if imported_before else surround
        patch_name(module, "open", _around("open"))
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
            has_span = request.image_steps < MAX_SPANS
            token = INSIDE.set(True)
            try:
                with child_span(request, name, {}) if has_span else NOTHING as span:
                    result = original(*args, **kwargs)
                    if span.is_recording():
                        image = args[0] if result is None else result
                        _describe(request, span, image, _requested_format(args, kwargs))
            finally:
                INSIDE.reset(token)
            request.image_step(step)
            return result

        return call

    return around


def _requested_format(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the format argument of ``save(file, format)``, ``None`` for other calls."""
    return kwargs.get("format") or (args[2] if len(args) > 2 else None)


def _describe(request: AvatarRequest, span: Span, image: Any, requested: Any) -> None:
    """Set the size of the resulting image, and its format where it has one."""
    try:
        width, height = image.size
        span.set_attributes({"image.width": width, "image.height": height})
        form = requested if isinstance(requested, str) else image.format
        if form is not None:
            span.set_attribute("image.format", _FORMATS.get(form.upper(), OTHER))
    except Exception:  # noqa: BLE001 - an image class of the application may raise
        request.guard.failed("probes")
