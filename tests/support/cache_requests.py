"""Requests that look into the avatar cache, and what is counted of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import call

AVATAR = f"/avatar/{DIGEST}"


def within(recorder: Recorder, function: Callable[[], object], path: str = AVATAR) -> None:
    """Call a function within a request."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        function()
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"x"]

    call(recorder.wrap(application), path=path)


def looked_up(recorder: Recorder) -> tuple[float, float]:
    """Return the hits and misses of the avatar cache."""
    return (
        recorder.value("ivatar_avatar_cache_hits_total"),
        recorder.value("ivatar_avatar_cache_misses_total"),
    )
