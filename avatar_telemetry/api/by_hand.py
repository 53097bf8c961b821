"""Metrics that an application records itself.

    get_avatar_metrics().record_cache_hit(80, "png")

Inside a request the value replaces the one of a probe and is counted when the request ends, so that
nothing is counted twice. Outside of a request it is counted at once.
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
MAX_FILE_SIZE = 1 << 63
"""Bytes; a larger size is invalid."""


class NoRequest:
    """A placeholder for the request in progress if there is none. It is false."""

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Do nothing."""

    def __bool__(self) -> Literal[False]:
        return False


NO_REQUEST = NoRequest()


def current_request() -> AvatarRequest | NoRequest:
    """Return the request that the calling code works for.

    Returns:
        The request, or outside of one a :class:`NoRequest`, which has the same method and does
        nothing.
    """
    return CURRENT.get() or NO_REQUEST


def _guarded(record: Callable[P, None]) -> Callable[P, None]:
    @wraps(record)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> None:
        telemetry = WORKER.telemetry()
        if telemetry is not None:
            with telemetry.guard.at("by_hand"):
                record(*args, **kwargs)

    return recorded


class AvatarMetrics:
    """Methods that record metrics. None raises for a value, or does anything outside a worker.

    Every value is mapped to the closed set of its label. ``seconds`` and bytes are ignored unless
    they are finite and not negative.
    """

    @_guarded
    def record_avatar_generated(
        self,
        size: int | str,
        format: str,
        source: str = "generated",
        seconds: float | None = None,
    ) -> None:
        """Record a generated picture. A request for an avatar only uses the source.

        Args:
            size: the edge in pixels.
            format: the format, such as ``png`` or ``image/png``.
            source: ``generated``, ``uploaded`` or ``external``.
            seconds: the duration in seconds.
        """
        source = labels.reported_source(source)
        request = _request("avatar")
        if request is not None and request.report_source(source):
            return
        form = labels.reported_format(str(format))
        _count(GENERATED, _size(size), form, source)
        _observe(GENERATION, seconds, form, source)

    @_guarded
    def record_cache_hit(self, size: int | str, format: str) -> None:
        """Record a hit in the avatar cache.

        Args:
            size: the edge in pixels.
            format: the format, such as ``png`` or ``image/png``.
        """
        _looked_up("hit", size, format)

    @_guarded
    def record_cache_miss(self, size: int | str, format: str) -> None:
        """Record a miss in the avatar cache. See :meth:`record_cache_hit`."""
        _looked_up("miss", size, format)

    @_guarded
    def record_external_request(
        self, service: str, success: bool, seconds: float | None = None
    ) -> None:
        """Record a call of an outside service, unless a probe has counted it in this request. In a
        request for anything but an avatar it is counted in ``ivatar_external_requests_total``.

        Args:
            service: the name of the service in the profile, or its host.
            success: whether the service did its work.
            seconds: the seconds until the response or the failure.
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

    @_guarded
    def record_file_upload(self, size: int, content_type: str, success: bool) -> None:
        """Record an uploaded file. If the form was observed, the observed sizes are counted.

        Args:
            size: the size in bytes.
            content_type: the Content-Type of the file.
            success: whether the application accepted the file.
        """
        if _is_reported("upload", success, (str(content_type), _bytes(size))):
            return
        kind = labels.upload_type(str(content_type))
        _count(UPLOADS, kind, _truth(success))
        _observe(UPLOAD_SIZE, size, kind)

    @_guarded
    def record_auth(self, operation: str, success: bool) -> None:
        """Record an authentication attempt.

        Args:
            operation: the operation, such as ``login``; the route of the request takes precedence.
            success: whether the attempt succeeded.
        """
        if not _is_reported("auth", success):
            routes = _telemetry().profile.routes
            known = {*labels.AUTH_OPERATIONS, *(route.operation for route in routes)} - {""}
            name = str(operation).removeprefix("auth.")
            _count(AUTH_ATTEMPTS, name if name in known else labels.OTHER, _truth(success))


_METRICS = AvatarMetrics()


def get_avatar_metrics() -> AvatarMetrics:
    """Return the object that records metrics; it is the same for the whole process."""
    return _METRICS


def _request(kind: Kind) -> AvatarRequest | None:
    """Return the request in progress, if its route is of a kind."""
    request = CURRENT.get()
    return request if request is not None and request.route.kind == kind else None


def _looked_up(found: Literal["hit", "miss"], size: int | str, format: str) -> None:
    request = _request("avatar")
    if request is not None and request.report_lookup(found):
        return
    instrument = CACHE_HITS if found == "hit" else CACHE_MISSES
    _count(instrument, _size(size), labels.reported_format(str(format)))


def _is_reported(kind: Kind, success: bool, file: tuple[str, int] | None = None) -> bool:
    """Report an attempt to the request in progress, and return whether the request counts it."""
    request = _request(kind)
    if request is None:
        return False
    return request.report_attempt(bool(success), file)


def _telemetry() -> Telemetry:
    telemetry = WORKER.telemetry()
    if telemetry is None:
        raise RuntimeError("the worker is ending")
    return telemetry


def _count(instrument: Instrument, *values: str) -> None:
    (CURRENT.get() or _telemetry().metrics).count(instrument, *values)


def _observe(instrument: Instrument, value: Any, *values: str) -> None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return
    if math.isfinite(number) and number >= 0:
        (CURRENT.get() or _telemetry().metrics).observe(instrument, number, *values)


def _size(size: int | str) -> str:
    try:
        return labels.size_label(int(size), _telemetry().sizes)
    except (TypeError, ValueError, OverflowError):
        return labels.OTHER


def _bytes(size: Any) -> int:
    return size if isinstance(size, int) and 0 <= size < MAX_FILE_SIZE else 0


def _truth(success: object) -> str:
    return "true" if success else "false"
