"""The outcome of a request, concluded once when it has ended, and what is counted for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avatar_telemetry.http import labels
from avatar_telemetry.http.labels import FORMATS_BY_TYPE
from avatar_telemetry.metrics.instruments import AUTH_ATTEMPTS, IMPORTS, UPLOAD_SIZE, UPLOADS
from avatar_telemetry.metrics.metrics import Metrics, Plan
from avatar_telemetry.profiles.model import Route

if TYPE_CHECKING:
    from avatar_telemetry.wsgi.request import AvatarRequest

OPENED_AND_SAVED = frozenset(("open", "save"))
MAX_CONCLUSIONS = 4096
"""Conclusions that are kept. Clients choose a part of what they follow from."""
# A longer query is more likely a stranger's invention than that of a page's picture.
MAX_QUERY_LENGTH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Conclusion:
    """The facts that follow from a request and its response. Each is equal to itself alone.

    Args:
        route: the route of the path.
        method: the method, as a label.
        status: the status code as the response had it; empty where it had none.
        size: the edge in pixels of the requested picture.
        picture: the format of the picture in the response, or else of the requested one.
        served: the format of the picture in the response; empty without one.
        cache: the result of the lookup in the avatar cache: ``hit``, ``miss`` or empty.
        source: the source of a picture that was made.
        generator: the name of the generator that made it.
    """

    route: Route
    method: str
    status: str
    size: int | None = None
    picture: str = ""
    served: str = ""
    cache: str = ""
    source: str = ""
    generator: str = ""


Concluded = tuple[Conclusion, Plan]
"""A conclusion, and the cells that the request is written into."""


class Conclusions:
    """The conclusions of the requests of one application, kept by what they follow from.

    Args:
        metrics: the requests are written into them; with their files the conclusions are dropped.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.known: dict[tuple[object, ...], Concluded] = {}
        metrics.drop_with_files(self.known)
        self.misses = 0
        """Conclusions drawn so far."""

    def of(self, request: AvatarRequest) -> Concluded:
        """Return the conclusion of a request that ended."""
        route = request.route
        if route.kind != "avatar":
            key: tuple[object, ...] = (
                route.kind, route.template, route.operation, request.method, request.status
            )  # fmt: skip
            return self.known.get(key) or self._keep(key, _plain(request))
        try:  # costs half of get()
            served = FORMATS_BY_TYPE[request.content_type]
        except KeyError:
            served = labels.image_format(request.content_type)
        picture = served or labels.suffix_format(request.path)
        key = (
            route.template, route.service, request.query, request.method, request.status, served,
            picture, request.cache, request.generator, request.outside_calls > 0,
            request.image_steps_seen, request.reported_source,
        )  # fmt: skip
        try:
            return self.known[key]
        except KeyError:
            found = _avatar(request, served, picture)
        self.misses += 1
        if len(request.query) <= MAX_QUERY_LENGTH:
            self._keep(key, found)
        return found

    def _keep(self, key: tuple[object, ...], conclusion: Concluded) -> Concluded:
        if len(self.known) >= MAX_CONCLUSIONS:
            self.known.clear()
        self.known[key] = conclusion
        return conclusion


def undetermined(request: AvatarRequest) -> Conclusion:
    """Return the conclusion of a request that could not be counted."""
    return Conclusion(request.route, request.method, request.status)


def success_of(request: AvatarRequest) -> bool | None:
    """Count an upload, an import or an authentication attempt, and return whether it succeeded.

    An upload counts where a file was seen, or where the application refused the form before it
    read any of it.

    Args:
        request: the request that ended, whose route has a success rule. The rule is the profile's
            and may raise.

    Returns:
        ``None`` where nothing was attempted.
    """
    route, metrics = request.route, request.telemetry.metrics
    success = request.reported_success
    if success is None:
        code = int(request.status) if labels.status(request.status) != labels.OTHER else 0
        success = route.succeeded(request.method, code, request.location)  # type: ignore[misc]
        if success and route.fetches:
            success = request.outside_documents > 0
        if success and route.fields:
            success = request.upload is not None and request.upload.has_filled(route.fields)
    files: Sequence[tuple[str, int]] = request.upload.files() if request.upload else ()
    if not files and request.reported_file is not None:
        files = [request.reported_file]
    for content_type, size in files:
        metrics.observe(UPLOAD_SIZE, size, labels.upload_type(content_type))
    upload = route.kind == "upload" and request.reported_success is None
    if success is None or (upload and not files and (success or not _is_unread(request))):
        return None
    label = "true" if success else "false"
    if route.kind == "upload":
        kind = labels.upload_type(files[0][0]) if files else labels.OTHER
        metrics.count(UPLOADS, kind, label)
    else:
        instrument = AUTH_ATTEMPTS if route.kind == "auth" else IMPORTS
        metrics.count(instrument, route.operation, label)
    return success


def _is_unread(request: AvatarRequest) -> bool:
    """Return whether the application read nothing of a form that may carry files."""
    return request.upload is not None and not request.upload.bytes_read


def _plain(request: AvatarRequest) -> Concluded:
    """Return the conclusion of a request for something else than an avatar."""
    route, method, status = request.route, request.method, request.status
    labelled = (method, labels.status(status), route.template, "", "", "", "")
    return Conclusion(route, method, status), request.telemetry.metrics.plan(labelled)


def _avatar(request: AvatarRequest, served: str, picture: str) -> Concluded:
    """Return the conclusion of a request for an avatar."""
    telemetry, route, method = request.telemetry, request.route, request.method
    status = labels.status(request.status)
    size = telemetry.profile.size(request.query)
    source = _source(request) if served and status == "200" else ""
    pixels = labels.size_label(size, telemetry.sizes)
    plan = telemetry.metrics.plan(
        (method, status, route.template, pixels, picture, request.cache, source)
    )
    found = Conclusion(
        route, method, request.status, size, picture, served, request.cache, source,
        request.generator,
    )  # fmt: skip
    return found, plan


def _source(request: AvatarRequest) -> str:
    """Return the source of a generated picture, as far as that is certain; see docs/metrics.md."""
    if request.reported_source:
        return request.reported_source
    if request.route.service:
        return "external"
    if request.cache == "hit":
        return ""
    if request.generator:
        return "generated"
    made = request.cache == "miss" or request.image_steps_seen >= OPENED_AND_SAVED
    if made and not request.outside_calls:
        return request.telemetry.profile.image_without_generator
    return ""
