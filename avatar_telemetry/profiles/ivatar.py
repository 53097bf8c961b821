r"""The profile of ivatar, the server of Libravatar.

The routes are in the order in which Django resolves them. ``path()``, and a ``re_path()`` that ends
with ``$``, match a whole path; any other ``re_path()`` without ``^`` is searched anywhere after the
prefix of its ``include()``, so that ``//avatar/…``, ``/x/avatar/…`` and even
``/accounts/x/avatar/…`` reach the avatar view. If no pattern inside an ``include()`` matches,
Django tries the patterns after it, so the ``{page}`` routes of the prefixes come last.

Attempts are derived from the response alone:

* Only methods that act count. The GET of a form and OPTIONS attempt nothing, and Django reads no
  form from a PUT. Where GET acts, HEAD does, too: Django's ``View.setup`` binds it to ``get``, and
  mail scanners send it.
* ``login_required`` redirects an anonymous user to the login page with ``?next=``: the attempt
  failed.
* An OpenID login counts once: at ``/openid/complete/``, or at ``/openid/login/`` if it could not
  begin.
* ``/accounts/confirm_openid/`` has the same response for success, failure and cancellation, so it
  is a page and not an attempt.
* The upload of an exported file requires the fields of its form, because a form that is shown again
  has the same status as a success.
* The import of a photo redirects to the profile page whether or not the other service had a
  picture; it succeeded if an outside service returned a document. The import of an exported file
  succeeded when ivatar has executed it.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, unquote_plus

from avatar_telemetry.profiles.model import PIXELS, Kind, Profile, Route, SuccessRule

DEFAULT_SIZE = 80
MAX_SIZE = 512
# Django's DATA_UPLOAD_MAX_NUMBER_FIELDS: the response to a query with more fields is a 400.
MAX_FIELDS = 1000
# "size" with every letter percent-encoded; a longer key is neither "s" nor "size".
MAX_KEY_LENGTH = len("%73%69%7A%65")

OPERATIONS = (
    "login", "logout", "register", "password_reset", "password_reset_confirm", "password_change",
    "password_set", "openid", "confirm_email",
)  # fmt: skip

IMPORTS = ("photo", "export")

DEFAULTS = frozenset({
    "404", "mm", "mp", "mmng", "monsterid", "robohash", "retro", "pagan", "identicon", "wavatar",
})  # fmt: skip

EXPORT_FIELDS = frozenset({"export_file", "not_porn", "can_distribute"})
"""The fields that ``UploadLibravatarExportForm`` requires; without one the form is shown again."""

FOUND = 302
LOGIN_PAGE = "/accounts/login/"


def size(query: str) -> int:
    """Return the requested edge in pixels, parsed as in ivatar.

    Args:
        query: ``QUERY_STRING`` as WSGI passes it.
    """
    if not query:
        return DEFAULT_SIZE
    if not query.isascii():
        query = _decode_like_django(query)
    fields = query.split("&", MAX_FIELDS)
    if len(fields) > MAX_FIELDS:
        return DEFAULT_SIZE
    short = long = None
    for each in fields:
        key, _, value = each.partition("=")
        if "%" in key and len(key) <= MAX_KEY_LENGTH:
            key = unquote(key)
        if key == "s":
            short = value
        elif key == "size":
            long = value
    wanted = short if long is None else long
    return _pixels(wanted) if wanted else DEFAULT_SIZE


def photo_uploaded(method: str, status: int, location: str) -> bool | None:
    """Return whether a photo was accepted: only then the response redirects to its cropping."""
    if method != "POST":
        return None
    return status == FOUND and "crop_photo" in _target(location).split("/")


def export_read(method: str, status: int, location: str) -> bool | None:
    """Return whether an exported file was read: the response shows its contents, or else redirects.

    A form that is shown again because a field is missing is a 200, too; see :data:`EXPORT_FIELDS`.
    """
    return status == 200 if method == "POST" else None


def redirected(method: str, status: int, location: str) -> bool | None:
    """Return whether a form was accepted: it redirects, but not to the login page."""
    if method != "POST":
        return None
    return status == FOUND and not _asks_for_login(location)


def logged_in(method: str, status: int, location: str) -> bool | None:
    """Return whether a login succeeded: it redirects away from the login page."""
    return _leaves_login(status, location) if method == "POST" else None


def logged_out(method: str, status: int, location: str) -> bool | None:
    """Return whether a logout succeeded. Older Django also accepts GET, and may show a page."""
    return status in (200, FOUND) if method in ("GET", "HEAD", "POST") else None


def registered(method: str, status: int, location: str) -> bool | None:
    """Return whether an account was created: only then the response redirects."""
    return status == FOUND if method == "POST" else None


def openid_begun(method: str, status: int, location: str) -> bool | None:
    """Return false for a login that could not begin; any other one is counted at its completion."""
    if method != "POST" or 200 <= status < 400:
        return None
    return False


def openid_completed(method: str, status: int, location: str) -> bool | None:
    """Return whether an OpenID login succeeded. A provider sends a long assertion by POST."""
    return _leaves_login(status, location) if method in ("GET", "HEAD", "POST") else None


def email_confirmed(method: str, status: int, location: str) -> bool | None:
    """Return whether an e-mail address was confirmed: an invalid key redirects to the profile."""
    return status == 200 if method in ("GET", "HEAD") else None


def _pixels(value: str) -> int:
    if "%" in value or "+" in value:
        value = unquote_plus(value)
    try:
        pixels = int(value)
    except ValueError:
        return DEFAULT_SIZE
    return min(pixels, MAX_SIZE) if pixels > 0 else DEFAULT_SIZE


def _decode_like_django(query: str) -> str:
    try:
        return query.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return query


def _target(location: str) -> str:
    """Return the path of a Location, without host, query and fragment. Unlike urlsplit it never
    raises."""
    path = location.partition("#")[0].partition("?")[0]
    scheme, slashes, rest = path.partition("//")
    if slashes and scheme[-1:] in ("", ":"):
        return "/" + rest.partition("/")[2]
    return path


def _leaves_login(status: int, location: str) -> bool:
    return status == FOUND and not _target(location).endswith(LOGIN_PAGE)


def _asks_for_login(location: str) -> bool:
    # password_set redirects to the login page after success, but without "next".
    return _target(location).endswith(LOGIN_PAGE) and "next=" in location.partition("?")[2]


def _exact(
    path: str, kind: Kind = "page", operation: str = "", succeeded: SuccessRule | None = None
) -> Route:
    """Return the route of a ``path()`` without parameters, which is its own template."""
    return Route(rf"^{path}\Z", path, kind, operation, succeeded)


def _account(
    pattern: str,
    template: str,
    kind: Kind = "page",
    operation: str = "",
    succeeded: SuccessRule | None = None,
    reveals: str = "",
    fetches: bool = False,
) -> Route:
    """Return the route of a ``re_path()`` of the accounts, searched after their prefix."""
    return Route(
        rf"^/accounts/(?s:.*){pattern}", f"/accounts/{template}", kind, operation, succeeded,
        reveals=reveals, fetches=fetches,
    )  # fmt: skip


_ACCOUNT_ROUTES = (
    _exact("/accounts/new/", "auth", "register", registered),
    _exact("/accounts/login/", "auth", "login", logged_in),
    _exact("/accounts/logout/", "auth", "logout", logged_out),
    _exact("/accounts/password_change/", "auth", "password_change", redirected),
    _exact("/accounts/password_change/done/"),
    _exact("/accounts/password_reset/", "auth", "password_reset", redirected),
    _exact("/accounts/password_reset/done/"),
    Route(
        r"^/accounts/reset/[^/]+/[^/]+/\Z", "/accounts/reset/{uid}/{token}/",
        "auth", "password_reset_confirm", redirected,
    ),
    _exact("/accounts/reset/done/"),
    _exact("/accounts/export/"),
    _exact("/accounts/delete/"),
    _exact("/accounts/profile/"),
    _account("profile/.", "profile/{user}"),
    _exact("/accounts/add_email/"),
    _exact("/accounts/add_openid/"),
    _exact("/accounts/upload_photo/", "upload", "", photo_uploaded),
    _exact("/accounts/password_set/", "auth", "password_set", redirected),
    _account(r"remove_unconfirmed_openid/\d", "remove_unconfirmed_openid/{id}"),
    _account(r"remove_confirmed_openid/\d", "remove_confirmed_openid/{id}"),
    _account(r"openid_redirection/\d", "openid_redirection/{id}"),
    _account(r"confirm_openid/\w", "confirm_openid/{key}"),
    _account(
        r"confirm_email/\w", "confirm_email/{key}",
        "auth", "confirm_email", email_confirmed,
    ),
    _account(r"remove_unconfirmed_email/\d", "remove_unconfirmed_email/{id}"),
    _account(r"remove_confirmed_email/\d", "remove_confirmed_email/{id}"),
    _account(r"assign_photo_email/\d", "assign_photo_email/{id}"),
    _account(r"assign_photo_openid/\d", "assign_photo_openid/{id}"),
    _account(r"assign_bluesky_handle_to_email/\d", "assign_bluesky_handle_to_email/{id}"),
    _account(r"assign_bluesky_handle_to_openid/\d", "assign_bluesky_handle_to_openid/{id}"),
    replace(_exact("/accounts/import_photo/", "import", "photo", redirected), fetches=True),
    # In ivatar's pattern the dot of the host part matches any character, too.
    _account(
        r"import_photo/[\w.+-]+@[\w.]+.[\w.]", "import_photo/{email}",
        "import", "photo", redirected, r"import_photo/(?P<email>[^/@]{1,64}@[^/]{1,190})", True,
    ),
    _account(
        r"import_photo/\d", "import_photo/{id}", "import", "photo", redirected, fetches=True
    ),
    _account(r"delete_photo/\d", "delete_photo/{id}"),
    _account(r"raw_image/\d", "raw_image/{id}"),
    _account(r"crop_photo/\d", "crop_photo/{id}"),
    _exact("/accounts/pref/"),
    replace(_exact("/accounts/upload_export/", "upload", "", export_read), fields=EXPORT_FIELDS),
    _exact("/accounts/upload_export/save", "import", "export", redirected),
    _account(r"resend_confirmation_mail/\d", "resend_confirmation_mail/{id}"),
)  # fmt: skip

PROFILE = Profile(
    name="ivatar",
    routes=(
        _exact("/admin/login/", "auth", "login", logged_in),
        _exact("/admin/logout/", "auth", "logout", logged_out),
        Route("^/admin/", "/admin/{page}"),
        _exact("/openid/login/", "auth", "openid", openid_begun),
        _exact("/openid/complete/", "auth", "openid", openid_completed),
        *_ACCOUNT_ROUTES,
        _exact("/tools/check/"),
        _exact("/tools/check_domain/"),
        Route(r"^/tools/check_domain\Z", "/tools/check_domain/"),
        # ivatar has a pattern for 64 characters and one for 32, with the same view; a search for 32
        # finds both.
        Route(
            r"avatar/\w{32}",
            "/avatar/{digest}",
            "avatar",
            cached=True,
            reveals=r"avatar/(?P<digest>\w{64}|\w{32})",
        ),
        # The same view: it looks into the cache before it detects that the digest is missing.
        Route(r"^/avatar/\Z", "/avatar/", "avatar", cached=True),
        Route("avatar/", "/avatar/{invalid}", "avatar"),
        Route(
            "gravatarproxy/",
            "/gravatarproxy/{digest}",
            "avatar",
            service="gravatar",
            reveals=r"gravatarproxy/(?P<digest>\w{64}|\w{32})",
        ),
        Route(
            "blueskyproxy/",
            "/blueskyproxy/{digest}",
            "avatar",
            service="bluesky",
            reveals=r"blueskyproxy/(?P<digest>\w{64}|\w{32})",
        ),
        _exact("/description/"),
        _exact("/run_your_own/"),
        _exact("/features/"),
        _exact("/security/"),
        _exact("/privacy/"),
        _exact("/contact/"),
        _exact("/talk_to_us/"),
        _exact("/stats/", "stats"),
        _exact("/"),
        # Django treats an empty PATH_INFO as "/".
        Route(r"^\Z", "/"),
        Route("^/static/", "/static/{file}", "static"),
        Route("^/i18n/", "/i18n/{page}"),
        Route("^/openid/", "/openid/{page}"),
        Route("^/accounts/", "/accounts/{page}"),
        Route("^/tools/", "/tools/{page}"),
    ),
    size=size,
    generators=(
        "monsterid.id:build_monster",
        "robohash:Robohash.assemble",
        "Identicon:render",
        "pagan:Avatar",
        "pydenticon5:Pydenticon5.draw",
        "ivatar.utils:mm_ng",
    ),
    avatar_cache=("django:filesystem",),
    services={
        "gravatar.com": "gravatar",
        "www.gravatar.com": "gravatar",
        "secure.gravatar.com": "gravatar",
        "bsky.app": "bluesky",
        "bsky.social": "bluesky",
        "cdn.bsky.app": "bluesky",
        "public.api.bsky.app": "bluesky",
    },
    image_without_generator="uploaded",
    query={
        "s": PIXELS,
        "size": PIXELS,
        "d": DEFAULTS,
        "default": DEFAULTS,
        "f": frozenset({"y"}),
        "forcedefault": frozenset({"y"}),
        "gravatarproxy": frozenset({"n"}),
        "gravatarredirect": frozenset({"y"}),
        "robohash": frozenset({"set1", "set2", "set3", "set4", "set5", "any"}),
    },
)
