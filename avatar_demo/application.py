"""The WSGI application: its routes, and the handling of a request."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from webob import exc
from webob.response import EmptyResponse

from avatar_demo import accounts, addresses, avatars, pages, photos, trial
from avatar_demo.settings import Settings
from avatar_demo.site import Site, open_site
from avatar_demo.visit import Visit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Not below the logger of the telemetry, whose records are never exported.
LOGGER = logging.getLogger("avatar_demo.request")
MAX_FORM_BYTES = 64 * 1024
FORM_SHARE = 1024 * 1024
"""Bytes that an upload may have in addition to its photo."""
DRAINED_UPLOADS = 4

GET, POST = ("GET", "HEAD"), ("POST",)
BOTH = (*GET, *POST)
NUMBER = r"(?P<number>[0-9]{1,9})/?$"
# Pattern, searched in the path; view, which gets its named groups; methods.
ROUTES: list[tuple[str, Callable[..., Any], tuple[str, ...]]] = [
    (r"^/accounts/new/$", accounts.new_account, BOTH),
    (r"^/accounts/login/$", accounts.login, BOTH),
    (r"^/accounts/logout/$", accounts.logout, BOTH),
    (r"^/accounts/password_reset/$", accounts.password_reset, BOTH),
    (r"^/accounts/password_reset/done/$", accounts.password_reset_done, GET),
    (r"^/accounts/reset/(?P<uid>[0-9]{1,9})/(?P<token>[\w.-]+)/$",
     accounts.password_reset_confirm, BOTH),
    (r"^/accounts/password_change/$", accounts.password_change, BOTH),
    (r"^/accounts/profile/(?P<username>.*)$", addresses.profile, GET),
    (r"^/accounts/add_(?P<kind>email|openid)/$", addresses.add, BOTH),
    (rf"^/accounts/remove_confirmed_(?P<kind>email|openid)/{NUMBER}", addresses.remove, POST),
    (rf"^/accounts/assign_photo_(?P<kind>email|openid)/{NUMBER}", addresses.assign_photo, BOTH),
    (rf"^/accounts/assign_bluesky_handle_to_email/{NUMBER}", addresses.assign_handle, BOTH),
    (r"^/accounts/upload_photo/$", photos.upload_photo, BOTH),
    (rf"^/accounts/crop_photo/{NUMBER}", photos.crop, BOTH),
    (rf"^/accounts/raw_image/{NUMBER}", photos.raw_image, GET),
    (rf"^/accounts/delete_photo/{NUMBER}", photos.delete_photo, BOTH),
    (r"^/accounts/import_photo/(?P<address>.+)$", photos.import_photo, BOTH),
    (r"^/openid/login/$", pages.openid_login, BOTH),
    (r"^/tools/check/$", pages.check, BOTH),
    (r"^/static/(?P<name>.*)$", pages.static_file, GET),
    (r"^/favicon\.ico$", pages.favicon, GET),
    # Unanchored, as in ivatar: //avatar/... and /x/avatar/... are avatars, too.
    (r"avatar/(?P<digest>\w{64})", avatars.avatar, GET),
    (r"avatar/(?P<digest>\w{32})", avatars.avatar, GET),
    (r"avatar/$", avatars.avatar, GET),
    (r"avatar/\w*", avatars.invalid_digest, GET),
    (r"gravatarproxy/(?P<digest>\w+)", avatars.gravatar_proxy, GET),
    (r"blueskyproxy/(?P<digest>\w+)", avatars.bluesky_proxy, GET),
    (r"^/description/$", pages.description, GET),
    (r"^/stats/$", pages.stats, GET),
    (r"^/statistics/$", trial.statistics, BOTH),
    (r"^/$", pages.home, BOTH),
]  # fmt: skip


class Application:
    """The demo as a WSGI application.

    Database and cache are opened with the first request of a process, so that a master can import
    this object and fork.

    Args:
        read_settings: the function that returns the settings, called with the first request of
            each process.
    """

    def __init__(self, read_settings: Callable[[], Settings]) -> None:
        self._read_settings = read_settings
        self._site: tuple[int, Site] | None = None
        self._locks: dict[int, AbstractContextManager[object]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        visit = Visit(environ, self._open_site())
        response = visit.finish(_respond_safely(visit))
        # Not WebOb's __call__, which makes redirects absolute.
        start_response(response.status, response.headerlist)
        body: Iterable[bytes] = response.app_iter
        return EmptyResponse(body) if environ["REQUEST_METHOD"] == "HEAD" else body

    def _open_site(self) -> Site:
        pid = os.getpid()
        site = self._site
        if site is None or site[0] != pid:
            # Each process makes its lock with its first request: a fork may copy a held lock, and
            # one from before gevent patched threading blocks all greenlets while its holder waits
            # for the database.
            with self._locks.setdefault(pid, threading.Lock()):
                site = self._site
                if site is None or site[0] != pid:
                    site = self._site = (pid, open_site(self._read_settings()))
        return site[1]


def create_application(environ: Mapping[str, str]) -> Application:
    """Make an application with its own settings.

    Args:
        environ: the ``DEMO_*`` variables.

    Raises:
        DemoSettingsError: a value is not allowed.
    """
    settings = Settings.from_environ(environ)
    return Application(lambda: settings)


def _respond_safely(visit: Visit) -> Any:
    try:
        return _respond(visit)
    except exc.HTTPError as error:
        response = visit.error_page(error.status_int, error.detail)
        if allow := error.headers.get("Allow"):
            response.headers["Allow"] = allow
        return response
    except Exception:
        # As in Django: the exception is logged, and the server gets a response.
        LOGGER.exception("Internal Server Error")
        return visit.error_page(500, "Something went wrong here.")


def _respond(visit: Visit) -> Any:
    view, methods, values = _find_route(visit.path)
    if visit.request.method not in methods:
        raise exc.HTTPMethodNotAllowed(
            "This page does not support the method.", headers={"Allow": ", ".join(methods)}
        )
    if visit.request.method == "POST":
        largest = visit.site.settings.max_upload
        is_upload = view is photos.upload_photo
        limit = largest + FORM_SHARE if is_upload and visit.user else MAX_FORM_BYTES
        try:
            visit.read_body(limit, DRAINED_UPLOADS * largest)
        except exc.HTTPRequestEntityTooLarge:
            if is_upload:
                return photos.upload_too_large(visit)
            raise
        visit.check_csrf()
    return view(visit, **values)


def _find_route(path: str) -> tuple[Callable[..., Any], tuple[str, ...], dict[str, str]]:
    for pattern, view, methods in ROUTES:
        if found := re.search(pattern, path):
            return view, methods, found.groupdict()
    raise exc.HTTPNotFound("There is no such page.")
