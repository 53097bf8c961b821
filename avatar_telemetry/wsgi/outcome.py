"""What became of a request, concluded once when it has ended, and what is counted for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avatar_telemetry.store import labels
from avatar_telemetry.store.instruments import AUTH_ATTEMPTS, IMPORTS, UPLOAD_SIZE, UPLOADS
from avatar_telemetry.store.metrics import MAX_QUERY_LENGTH, Plan

if TYPE_CHECKING:
    from avatar_telemetry.wsgi.request import AvatarRequest

OPENED_AND_SAVED = frozenset(("open", "save"))


def plan_of(request: AvatarRequest) -> Plan:
    """The cells that a request is written into.

    Args:
        request: that has ended. One for an avatar learns its size, picture and source here.
    """
    route = request.route
    metrics = request.telemetry.metrics
    if route.kind != "avatar":
        status = labels.status(request.status)
        return metrics.plan((request.method, status, route.template, "", "", "", ""))
    answer = (
        id(request.telemetry),  # another application of this process may have other sizes
        route.template, request.method, request.status, request.query, request.content_type,
        request.cache, request.generator, bool(request.outside_calls), request.image_steps_seen,
        request.reported_source,
    )  # fmt: skip
    conclusion = metrics.conclusions.get(answer)
    if conclusion is not None:
        request.size, request.picture, request.source, plan = conclusion
        return plan
    plan = _conclude(request)
    # Where no picture was given, the path has its say.
    if labels.image_format(request.content_type) and len(request.query) <= MAX_QUERY_LENGTH:
        metrics.remember(answer, (request.size, request.picture, request.source, plan))
    return plan


def record_success(request: AvatarRequest) -> None:
    """Count an upload, an import or an authentication attempt, and note whether it succeeded.

    An upload counts where a file was seen, or where the application refused the form before it
    read any of it.

    Args:
        request: the request that ended, whose route has a success rule. The rule is the profile's
            and may raise.
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
        return
    request.success = success
    label = "true" if success else "false"
    if route.kind == "upload":
        kind = labels.upload_type(files[0][0]) if files else labels.OTHER
        metrics.count(UPLOADS, kind, label)
    else:
        instrument = AUTH_ATTEMPTS if route.kind == "auth" else IMPORTS
        metrics.count(instrument, route.operation, label)


def _is_unread(request: AvatarRequest) -> bool:
    """Return whether the application read nothing of a form that may carry files."""
    return request.upload is not None and not request.upload.bytes_read


def _conclude(request: AvatarRequest) -> Plan:
    """What was asked for and what was given."""
    telemetry = request.telemetry
    status = labels.status(request.status)
    picture = labels.image_format(request.content_type)
    request.size = telemetry.profile.size(request.query)
    if picture and status == "200":
        request.source = _source(request)
    request.picture = picture or labels.suffix_format(request.path)
    return telemetry.metrics.plan((
        request.method, status, request.route.template,
        labels.size_label(request.size, telemetry.sizes), request.picture, request.cache,
        request.source,
    ))  # fmt: skip


def _source(request: AvatarRequest) -> str:
    """Where a picture that was made came from, as far as that is sure; see docs/metrics.md."""
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
