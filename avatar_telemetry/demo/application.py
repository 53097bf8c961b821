"""The WSGI application: routes, and the story of one request."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avatar_telemetry.demo import (
    views_account,
    views_avatar,
    views_pages,
    views_photo,
    views_profile,
)
from avatar_telemetry.demo.http import BodyTooLarge, HttpError, buffer_body, send
from avatar_telemetry.demo.settings import Settings
from avatar_telemetry.demo.site import Site, open_site
from avatar_telemetry.demo.static import static_file
from avatar_telemetry.demo.visit import Visit, open_visit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Not below the package's own logger, whose records are never exported.
LOGGER = logging.getLogger("avatar_demo.request")
FORM_BYTES = 64 * 1024
FORM_SHARE = 1024 * 1024
"""Bytes that an upload may have beside its photo."""

DRAINED_UPLOADS = 4

View = Callable[..., Any]


@dataclass(frozen=True)
class Route:
    """A page of the site.

    Args:
        pattern: searched in the path; its named groups go to the view.
        view: what answers.
        methods: which it answers; HEAD comes with GET.
        members: only for those who are logged in.
    """

    pattern: re.Pattern[str]
    view: View
    methods: tuple[str, ...] = ("GET", "HEAD")
    members: bool = False


def _route(pattern: str, view: View, methods: str = "GET", members: bool = False) -> Route:
    names = tuple(methods.split())
    return Route(
        re.compile(pattern), view, ("GET", "HEAD", *names[1:]) if "GET" in names else names, members
    )


BOTH = "GET POST"
ROUTES = (
    _route(r"^/accounts/new/$", views_account.new_account, BOTH),
    _route(r"^/accounts/login/$", views_account.login, BOTH),
    _route(r"^/accounts/logout/$", views_account.logout, BOTH),
    _route(r"^/accounts/password_reset/$", views_account.password_reset, BOTH),
    _route(r"^/accounts/password_reset/done/$", views_account.password_reset_done),
    _route(
        r"^/accounts/reset/(?P<uid>[0-9]+)/(?P<token>[0-9]+-[\w-]+)/$",
        views_account.password_reset_confirm,
        BOTH,
    ),
    _route(r"^/accounts/password_change/$", views_account.password_change, BOTH, True),
    _route(r"^/accounts/profile/(?P<username>.*)$", views_profile.profile, "GET", True),
    _route(r"^/accounts/add_email/$", views_profile.add_email, BOTH, True),
    _route(r"^/accounts/add_openid/$", views_profile.add_openid, BOTH, True),
    _route(
        r"^/accounts/remove_confirmed_email/(?P<number>[0-9]+)/?$",
        views_profile.remove_email,
        "POST",
        True,
    ),
    _route(
        r"^/accounts/remove_confirmed_openid/(?P<number>[0-9]+)/?$",
        views_profile.remove_openid,
        "POST",
        True,
    ),
    _route(
        r"^/accounts/assign_photo_email/(?P<number>[0-9]+)/?$",
        views_profile.assign_photo_email,
        BOTH,
        True,
    ),
    _route(
        r"^/accounts/assign_photo_openid/(?P<number>[0-9]+)/?$",
        views_profile.assign_photo_openid,
        BOTH,
        True,
    ),
    _route(
        r"^/accounts/assign_bluesky_handle_to_email/(?P<number>[0-9]+)/?$",
        views_profile.assign_bluesky_handle,
        BOTH,
        True,
    ),
    _route(r"^/accounts/upload_photo/$", views_photo.upload_photo, BOTH, True),
    _route(r"^/accounts/crop_photo/(?P<number>[0-9]+)/?$", views_photo.crop, BOTH, True),
    _route(r"^/accounts/raw_image/(?P<number>[0-9]+)/?$", views_photo.raw_image, "GET", True),
    _route(r"^/accounts/delete_photo/(?P<number>[0-9]+)/?$", views_photo.delete_photo, BOTH, True),
    _route(r"^/accounts/import_photo/(?P<address>.+)$", views_photo.import_photo, BOTH, True),
    _route(r"^/openid/login/$", views_pages.openid_login, BOTH),
    _route(r"^/tools/check/$", views_pages.check, BOTH),
    _route(r"^/static/(?P<name>.*)$", static_file),
    # Unanchored, as in ivatar: //avatar/… and /x/avatar/… are avatars, too.
    _route(r"avatar/(?P<digest>\w{64})", views_avatar.avatar),
    _route(r"avatar/(?P<digest>\w{32})", views_avatar.avatar),
    _route(r"avatar/$", views_avatar.avatar),
    _route(r"avatar/\w*", views_avatar.invalid_digest),
    _route(r"gravatarproxy/(?P<digest>\w+)", views_avatar.gravatar_proxy),
    _route(r"blueskyproxy/(?P<digest>\w+)", views_avatar.bluesky_proxy),
    _route(r"^/description/$", views_pages.description),
    _route(r"^/stats/$", views_pages.stats),
    _route(r"^/$", views_pages.home, BOTH),
)


class Application:
    """The demo as a WSGI application.

    Everything that is open - database, cache - belongs to the process of the first request, so that
    a master can hold this object and fork.

    Args:
        read_settings: called once in each process, with its first request.
    """

    def __init__(self, read_settings: Callable[[], Settings]) -> None:
        self._read_settings = read_settings
        self._site: tuple[int, Site] | None = None
        self._locks: dict[int, AbstractContextManager[object]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        visit = open_visit(environ, self._open_site())
        response = visit.finish(_answer_safely(visit))
        return send(response, environ, start_response)

    def _open_site(self) -> Site:
        pid = os.getpid()
        site = self._site
        if site is None or site[0] != pid:
            # Each process makes its own lock, with its first request: a fork copies one that
            # another thread holds, and one from before gevent patched threading stops all
            # greenlets where its holder waits for the database.
            with self._locks.setdefault(pid, threading.Lock()):
                site = self._site
                if site is None or site[0] != pid:
                    site = self._site = (pid, open_site(self._read_settings()))
        return site[1]


def create_application(environ: Mapping[str, str]) -> Application:
    """An application with settings of its own.

    Args:
        environ: ``DEMO_*`` variables.

    Raises:
        DemoSettingsError: one of them cannot be used.
    """
    settings = Settings.from_environ(environ)
    return Application(lambda: settings)


def _answer_safely(visit: Visit) -> Any:
    try:
        return _answer(visit)
    except HttpError as error:
        return _error_page(visit, error)
    except Exception:
        # As Django does it: the log has the exception, the server sees a response.
        LOGGER.exception("Internal Server Error")
        return _error_page(visit, HttpError(500, "Something went wrong here."))


def _answer(visit: Visit) -> Any:
    route, values = _find_route(visit.path)
    method = visit.request.method
    if method not in route.methods:
        raise HttpError(405, "This page has no such method.", ", ".join(route.methods))
    if method == "POST":
        try:
            buffer_body(visit.request, _body_limit(visit, route), _drained(visit))
        except BodyTooLarge:
            if route.view is views_photo.upload_photo:
                return views_photo.upload_too_large(visit)
            raise
        visit.check_csrf()
    if route.members and visit.user is None:
        return views_account.log_in_first(visit)
    return route.view(visit, **values)


def _find_route(path: str) -> tuple[Route, dict[str, str]]:
    for route in ROUTES:
        if found := route.pattern.search(path):
            return route, found.groupdict()
    raise HttpError(404, "There is no such page.")


def _body_limit(visit: Visit, route: Route) -> int:
    if route.view is views_photo.upload_photo and visit.user:
        return visit.site.settings.max_upload + FORM_SHARE
    return FORM_BYTES


def _drained(visit: Visit) -> int:
    return DRAINED_UPLOADS * visit.site.settings.max_upload


def _error_page(visit: Visit, error: HttpError) -> Any:
    response = visit.error_page(error.status, error.message)
    if error.allow:
        response.headers["Allow"] = error.allow
    return response
