r"""ivatar, the server behind Libravatar, as it looks from outside.

The routes stand in the order in which Django resolves them. ``path()`` matches a whole path, and so
does a ``re_path()`` that ends with ``$``; any other without ``^`` is found anywhere in what its
``include()`` left over, so that
``//avatar/…``, ``/x/avatar/…`` and even ``/accounts/x/avatar/…`` reach the avatar view. A path that
nothing inside an ``include()`` matches goes on to the patterns after it, which is why the
``{page}`` routes of the prefixes come last.

Attempts are told from the answer alone:

* Only the methods that act count. The GET of a form and OPTIONS attempt nothing, and a PUT carries
  no form that Django would read. Where GET acts, HEAD does too: Django's ``View.setup`` binds it to
  ``get``, and mail scanners send it.
* ``login_required`` sends a stranger to the log-in page with ``?next=``: the attempt failed.
* An OpenID log-in counts once: at ``/openid/complete/``, or at ``/openid/login/`` where it could
  not even begin.
* ``/accounts/confirm_openid/`` answers the same to success, failure and a change of mind. It is a
  page, not a guess.
* The upload of an exported file needs the fields of its form, since the form drawn again has the
  status of a success.
* An import of a photo redirects to the profile page whether the other side had a picture or not; it
  succeeded where an outside service returned a document. The import of an exported file succeeded
  once ivatar carried it out.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, unquote_plus

from avatar_telemetry.profiles.model import PIXELS, Kind, Profile, Route, SuccessRule

DEFAULT_SIZE = 80
LARGEST_SIZE = 512
# Django's DATA_UPLOAD_MAX_NUMBER_FIELDS: a query with more fields is answered with 400.
MAX_FIELDS = 1000
# "size" with every letter percent-encoded; a longer key can be neither "s" nor "size".
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
"""The fields that ``UploadLibravatarExportForm`` requires; without one it is drawn again."""

FOUND = 302
LOGIN_PAGE = "/accounts/login/"


def size(query: str) -> int:
    """Edge in pixels that a query string asks for, read as ivatar reads it.

    Args:
        query: ``QUERY_STRING`` as WSGI gives it.
    """
    if not query:
        return DEFAULT_SIZE
    if not query.isascii():
        query = _as_django_decodes(query)
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
    """An accepted photo goes on to be cropped; every refusal goes elsewhere or nowhere."""
    if method != "POST":
        return None
    return status == FOUND and "crop_photo" in _target(location).split("/")


def export_read(method: str, status: int, location: str) -> bool | None:
    """A file that was read is shown to choose from; one that was not leads back to its form.

    The form drawn again for want of a file or a tick is a 200 too: see :data:`EXPORT_FIELDS`.
    """
    return status == 200 if method == "POST" else None


def redirected(method: str, status: int, location: str) -> bool | None:
    """A form that was taken redirects, and one that needs a user sends a stranger to log in."""
    if method != "POST":
        return None
    return status == FOUND and not _asks_to_log_in(location)


def logged_in(method: str, status: int, location: str) -> bool | None:
    """The right password leads away from the log-in page; the wrong one draws it again."""
    return _leaves_login(status, location) if method == "POST" else None


def logged_out(method: str, status: int, location: str) -> bool | None:
    """Older Django logs out on GET too, and shows a page where it has nowhere to redirect."""
    return status in (200, FOUND) if method in ("GET", "HEAD", "POST") else None


def registered(method: str, status: int, location: str) -> bool | None:
    """A new account redirects; a fault in the form draws it again."""
    return status == FOUND if method == "POST" else None


def openid_begun(method: str, status: int, location: str) -> bool | None:
    """An attempt that begins is counted when it completes; here only one that cannot begin."""
    if method != "POST" or 200 <= status < 400:
        return None
    return False


def openid_completed(method: str, status: int, location: str) -> bool | None:
    """The provider sends the user back by GET, or by POST where the assertion is long."""
    return _leaves_login(status, location) if method in ("GET", "HEAD", "POST") else None


def email_confirmed(method: str, status: int, location: str) -> bool | None:
    """The right key shows a page; a wrong one redirects to the profile."""
    return status == 200 if method in ("GET", "HEAD") else None


def _pixels(value: str) -> int:
    if "%" in value or "+" in value:
        value = unquote_plus(value)
    try:
        pixels = int(value)
    except ValueError:
        return DEFAULT_SIZE
    return min(pixels, LARGEST_SIZE) if pixels > 0 else DEFAULT_SIZE


def _as_django_decodes(query: str) -> str:
    try:
        return query.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return query


def _target(location: str) -> str:
    """The path of a Location, without host, query and fragment; never raises, as urlsplit can."""
    path = location.partition("#")[0].partition("?")[0]
    scheme, slashes, rest = path.partition("//")
    if slashes and scheme[-1:] in ("", ":"):
        return "/" + rest.partition("/")[2]
    return path


def _leaves_login(status: int, location: str) -> bool:
    return status == FOUND and not _target(location).endswith(LOGIN_PAGE)


def _asks_to_log_in(location: str) -> bool:
    # password_set leads to the log-in page after success; there it has no "next".
    return _target(location).endswith(LOGIN_PAGE) and "next=" in location.partition("?")[2]


def _exact(
    path: str, kind: Kind = "page", operation: str = "", succeeded: SuccessRule | None = None
) -> Route:
    """``path()`` without a parameter: the whole path, and its own template."""
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
    """``re_path()`` of the accounts: anywhere behind their prefix."""
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
    # The dot of the host part is any character in ivatar's pattern too.
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
        # ivatar looks for 64 characters before 32: one view, and where there are 64 there are 32.
        Route(
            r"avatar/\w{32}",
            "/avatar/{digest}",
            "avatar",
            cached=True,
            reveals=r"avatar/(?P<digest>\w{64}|\w{32})",
        ),
        # The same view, which asks the cache before it misses the digest.
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
        # Django takes an empty PATH_INFO for "/".
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
