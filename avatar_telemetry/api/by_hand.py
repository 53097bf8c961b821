"""What an application records by hand, if it likes.

    get_avatar_metrics().record_cache_hit(80, "png")

Inside a request this says what the request is to count at its end, in place of what a probe would
see; so nothing is counted twice, whoever sees it first. Outside of one it counts at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, ParamSpec

from opentelemetry.util.types import AttributeValue

from avatar_telemetry.http import labels
from avatar_telemetry.metrics.instruments import (
    AUTH_ATTEMPTS,
    CACHE_HITS,
    CACHE_MISSES,
    EXTERNAL_DURATION,
    EXTERNAL_REQUESTS,
    GENERATED,
    GENERATION,
    OUTSIDE_DURATION,
    OUTSIDE_REQUESTS,
    UPLOAD_SIZE,
    UPLOADS,
    Instrument,
)
from avatar_telemetry.profiles.model import Kind
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest
from avatar_telemetry.wsgi.telemetry import Telemetry
from avatar_telemetry.wsgi.worker import WORKER

P = ParamSpec("P")
LARGEST = 1 << 63
"""Bytes that no file has."""


class NoRequest:
    """Stands for the request in progress where there is none. It counts as false."""

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Nothing."""

    def __bool__(self) -> Literal[False]:
        return False


NO_REQUEST = NoRequest()


def current_request() -> AvatarRequest | NoRequest:
    """The request that the calling code works for.

    Returns:
        A request, or outside of one a :class:`NoRequest`, which takes the same attributes and does
        nothing.
    """
    return CURRENT.get() or NO_REQUEST


def _inert(record: Callable[P, None]) -> Callable[P, None]:
    @wraps(record)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> None:
        telemetry = WORKER.telemetry()
        if telemetry is not None:
            with telemetry.guard.at("by_hand"):
                record(*args, **kwargs)

    return recorded


class AvatarMetrics:
    """Records by hand. No method raises for a value, and none does anything outside a worker.

    Every value becomes one of the closed set of its label; ``seconds`` and bytes that are no
    positive number are left out.
    """

    @_inert
    def record_avatar_generated(
        self,
        size: int | str,
        format: str,
        source: str = "generated",
        seconds: float | None = None,
    ) -> None:
        """A picture was made.

        Args:
            size: edge in pixels.
            format: such as ``png`` or ``image/png``.
            source: ``generated``, ``uploaded`` or ``external``.
            seconds: that it took. A request for an avatar knows all but the source itself.
        """
        source = labels.reported_source(source)
        request = _request("avatar")
        if request is not None and request.report_source(source):
            return
        form = labels.reported_format(str(format))
        _count(GENERATED, _size(size), form, source)
        _observe(GENERATION, seconds, form, source)

    @_inert
    def record_cache_hit(self, size: int | str, format: str) -> None:
        """The avatar cache had an answer.

        Args:
            size: edge in pixels.
            format: such as ``png`` or ``image/png``.
        """
        _looked_up("hit", size, format)

    @_inert
    def record_cache_miss(self, size: int | str, format: str) -> None:
        """The avatar cache had none. See :meth:`record_cache_hit`."""
        _looked_up("miss", size, format)

    @_inert
    def record_external_request(
        self, service: str, success: bool, seconds: float | None = None
    ) -> None:
        """An outside service was called. A call that a probe has seen in this request is not
        counted once more. In a request for anything but an avatar it counts in
        ``ivatar_external_requests_total``.

        Args:
            service: its name in the profile, or its host.
            success: whether it did its work.
            seconds: until it answered or failed.
        """
        telemetry = _telemetry()
        services = telemetry.profile.services
        name = str(service)
        label = name if name in services.values() else labels.service(name, services)
        request = CURRENT.get()
        if request is not None and request.report_outside_call(label):
            return
        if request is None or request.route.kind == "avatar":
            calls, duration = EXTERNAL_REQUESTS, EXTERNAL_DURATION
        else:
            calls, duration = OUTSIDE_REQUESTS, OUTSIDE_DURATION
        _count(calls, label, _truth(success))
        _observe(duration, seconds, label)

    @_inert
    def record_file_upload(self, size: int, content_type: str, success: bool) -> None:
        """A file was uploaded. Of a form that was read along, the sizes seen are counted.

        Args:
            size: bytes.
            content_type: of the file.
            success: whether the application took it.
        """
        if _told_before("upload", success, (str(content_type), _bytes(size))):
            return
        kind = labels.upload_type(str(content_type))
        _count(UPLOADS, kind, _truth(success))
        _observe(UPLOAD_SIZE, size, kind)

    @_inert
    def record_auth(self, operation: str, success: bool) -> None:
        """Somebody tried to authenticate.

        Args:
            operation: such as ``login``; inside a request for one, its own counts.
            success: whether it worked.
        """
        if not _told_before("auth", success):
            routes = _telemetry().profile.routes
            known = {*labels.AUTH_OPERATIONS, *(route.operation for route in routes)} - {""}
            name = str(operation).removeprefix("auth.")
            _count(AUTH_ATTEMPTS, name if name in known else labels.OTHER, _truth(success))


_METRICS = AvatarMetrics()


def get_avatar_metrics() -> AvatarMetrics:
    """What to record by hand with; it may be kept."""
    return _METRICS


def _request(kind: Kind) -> AvatarRequest | None:
    """The request in progress, if it counts such a thing itself."""
    request = CURRENT.get()
    return request if request is not None and request.route.kind == kind else None


def _looked_up(found: Literal["hit", "miss"], size: int | str, format: str) -> None:
    request = _request("avatar")
    if request is not None and request.report_lookup(found):
        return
    instrument = CACHE_HITS if found == "hit" else CACHE_MISSES
    _count(instrument, _size(size), labels.reported_format(str(format)))


def _told_before(kind: Kind, success: bool, file: tuple[str, int] | None = None) -> bool:
    """Whether the request counts, or has counted, an attempt; it is told of this one."""
    request = _request(kind)
    if request is None:
        return False
    return request.report_attempt(bool(success), file)


def _telemetry() -> Telemetry:
    telemetry = WORKER.telemetry()
    if telemetry is None:
        raise RuntimeError("the worker ends")
    return telemetry


def _count(instrument: Instrument, *values: str) -> None:
    _telemetry().metrics.count(instrument, *values)


def _observe(instrument: Instrument, value: Any, *values: str) -> None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return
    if math.isfinite(number) and number >= 0:
        _telemetry().metrics.observe(instrument, number, *values)


def _size(size: int | str) -> str:
    try:
        return labels.size_label(int(size), _telemetry().sizes)
    except (TypeError, ValueError, OverflowError):
        return labels.OTHER


def _bytes(size: Any) -> int:
    return size if isinstance(size, int) and 0 <= size < LARGEST else 0


def _truth(success: object) -> str:
    return "true" if success else "false"
