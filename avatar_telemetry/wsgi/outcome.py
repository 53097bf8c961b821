"""The outcome of a request, derived when it has ended, and the metrics that are counted for it."""

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
MAX_OUTCOMES = 4096
"""Outcomes in the cache, whose keys contain client data."""
# A longer query is unlikely to be that of a picture on a page.
MAX_QUERY_LENGTH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The values that follow from a request and its response. Two are equal only if identical.

    Args:
        route: the route of the path.
        method: the method, as a label.
        status: the status code of the response; empty if it had none.
        size: the edge in pixels of the requested picture.
        picture: the format of the picture in the response, or else of the requested one.
        served: the format of the picture in the response; empty if it has none.
        cache: the result of the lookup in the avatar cache: ``hit``, ``miss`` or empty.
        source: the source of a generated picture.
        generator: the name of the generator.
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


PlannedOutcome = tuple[Outcome, Plan]
"""An outcome, and the cells that the request is added to."""


class Outcomes:
    """A cache of the outcomes of one application, by the values that they are derived from.

    Args:
        metrics: the metrics of the requests. The cache is cleared when their files are replaced.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.known: dict[tuple[object, ...], PlannedOutcome] = {}
        metrics.drop_with_files(self.known)
        self.misses = 0
        """The number of derived outcomes."""

    def of(self, request: AvatarRequest) -> PlannedOutcome:
        """Return the outcome of a request that ended."""
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

    def _keep(self, key: tuple[object, ...], outcome: PlannedOutcome) -> PlannedOutcome:
        if len(self.known) >= MAX_OUTCOMES:
            self.known.clear()
        self.known[key] = outcome
        return outcome


def undetermined(request: AvatarRequest) -> Outcome:
    """Return the outcome of a request that could not be counted."""
    return Outcome(request.route, request.method, request.status)


def success_of(request: AvatarRequest) -> bool | None:
    """Count an upload, an import or an authentication attempt, and return whether it succeeded.

    An upload counts if a file was read, or if the application refused the form before it read any
    of it.

    Args:
        request: the request that ended, whose route has a success rule. The rule may raise.

    Returns:
        ``None`` if nothing was attempted.
    """
    route = request.route
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
        request.observe(UPLOAD_SIZE, size, labels.upload_type(content_type))
    upload = route.kind == "upload" and request.reported_success is None
    if success is None or (upload and not files and (success or not _is_unread(request))):
        return None
    label = "true" if success else "false"
    if route.kind == "upload":
        kind = labels.upload_type(files[0][0]) if files else labels.OTHER
        request.count(UPLOADS, kind, label)
    else:
        instrument = AUTH_ATTEMPTS if route.kind == "auth" else IMPORTS
        request.count(instrument, route.operation, label)
    return success


def _is_unread(request: AvatarRequest) -> bool:
    """Return whether the application read nothing of a form that may contain files."""
    return request.upload is not None and not request.upload.bytes_read


def _plain(request: AvatarRequest) -> PlannedOutcome:
    """Return the outcome of a request for anything but an avatar."""
    route, method, status = request.route, request.method, request.status
    labelled = (method, labels.status(status), route.template, "", "", "", "")
    return Outcome(route, method, status), request.telemetry.metrics.plan(labelled)


def _avatar(request: AvatarRequest, served: str, picture: str) -> PlannedOutcome:
    """Return the outcome of a request for an avatar."""
    telemetry, route, method = request.telemetry, request.route, request.method
    status = labels.status(request.status)
    size = telemetry.profile.size(request.query)
    source = _source(request) if served and status == "200" else ""
    pixels = labels.size_label(size, telemetry.sizes)
    plan = telemetry.metrics.plan(
        (method, status, route.template, pixels, picture, request.cache, source)
    )
    found = Outcome(
        route, method, request.status, size, picture, served, request.cache, source,
        request.generator,
    )  # fmt: skip
    return found, plan


def _source(request: AvatarRequest) -> str:
    """Return the source of a generated picture; empty if uncertain (see docs/metrics.md)."""
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
