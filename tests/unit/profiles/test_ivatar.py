"""The profile of ivatar, row by row of its URL table, and under hostile input."""

import re
import string
import subprocess
import sys
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avatar_telemetry.http import labels
from avatar_telemetry.profiles.ivatar import IMPORTS, OPERATIONS, PROFILE, size

try:
    from re import _constants as sre_constants  # type: ignore[attr-defined]
    from re import _parser as sre_parse
except ImportError:  # Python 3.10
    import sre_constants  # type: ignore[no-redef]
    import sre_parse  # type: ignore[no-redef]

MD5 = "0123456789abcdef" * 2
SHA256 = "0123456789abcdef" * 4
DIGEST, INVALID = "/avatar/{digest}", "/avatar/{invalid}"
IMPORT_EMAIL = "/accounts/import_photo/{email}"
PAGE, ACCOUNT = "page", "/accounts/{page}"

PATHS = [
    pytest.param(f"/avatar/{MD5}", DIGEST, "avatar", id="md5"),
    pytest.param(f"/avatar/{SHA256}", DIGEST, "avatar", id="sha256"),
    pytest.param(f"/avatar/{MD5}.png", DIGEST, "avatar", id="md5-suffix"),
    pytest.param(f"/avatar/{SHA256}.jpeg", DIGEST, "avatar", id="sha256-suffix"),
    pytest.param(f"/avatar/{MD5}/any/thing", DIGEST, "avatar", id="anything-after"),
    pytest.param(f"/avatar/{SHA256}abc", DIGEST, "avatar", id="longer-than-sha256"),
    pytest.param("/avatar/" + "_" * 32, DIGEST, "avatar", id="word-characters"),
    pytest.param("/avatar/" + "\xc3\xa9" * 32, DIGEST, "avatar", id="32-accents-in-utf-8"),
    pytest.param(f"//avatar/{MD5}", DIGEST, "avatar", id="double-slash"),
    pytest.param(f"/x/avatar/{MD5}", DIGEST, "avatar", id="below-something"),
    pytest.param(f"/accounts/x/avatar/{MD5}", DIGEST, "avatar", id="below-accounts"),
    pytest.param(f"/openid/avatar/{MD5}", DIGEST, "avatar", id="below-openid"),
    pytest.param(f"/static/avatar/{MD5}", DIGEST, "avatar", id="below-static"),
    pytest.param(f"/gravatar/{MD5}", DIGEST, "avatar", id="inside-a-word"),
    pytest.param(f"/avatar/x/avatar/{MD5}", DIGEST, "avatar", id="second-of-two"),
    pytest.param("/avatar/", "/avatar/", "avatar", id="no-digest"),
    pytest.param("//avatar/", INVALID, "avatar", id="no-digest-double-slash"),
    pytest.param(f"/avatar/{MD5[:-1]}", INVALID, "avatar", id="31-characters"),
    pytest.param("/avatar/someone@example.org", INVALID, "avatar", id="e-mail-as-digest"),
    pytest.param("/avatar/" + "\xc3\xa9" * 16, INVALID, "avatar", id="16-accents-in-utf-8"),
    pytest.param("/avatar", "other", "other", id="no-slash"),
    pytest.param(f"/gravatarproxy/{MD5}", "/gravatarproxy/{digest}", "avatar", id="gravatar"),
    pytest.param(f"/x/gravatarproxy/{MD5}", "/gravatarproxy/{digest}", "avatar", id="x-gravatar"),
    pytest.param(f"/blueskyproxy/{SHA256}", "/blueskyproxy/{digest}", "avatar", id="bluesky"),
    pytest.param("/accounts/upload_photo/", "/accounts/upload_photo/", "upload", id="upload"),
    pytest.param("/accounts/import_photo/", "/accounts/import_photo/", "import", id="import"),
    pytest.param("/accounts/import_photo/a+b@c.example", IMPORT_EMAIL, "import", id="import-email"),
    pytest.param("/accounts/x/import_photo/a@b.c", IMPORT_EMAIL, "import", id="import-unanchored"),
    pytest.param(
        "/accounts/import_photo/12", "/accounts/import_photo/{id}", "import", id="import-id"
    ),
    pytest.param("/accounts/import_photo/a@b", ACCOUNT, PAGE, id="import-no-address"),
    pytest.param("/import_photo/a@b.c", "other", "other", id="import-outside-accounts"),
    pytest.param("/accounts/upload_export/", "/accounts/upload_export/", "upload", id="export"),
    pytest.param(
        "/accounts/upload_export/save", "/accounts/upload_export/save", "import", id="export-save"
    ),
    pytest.param("/accounts/login/", "/accounts/login/", "auth", id="login"),
    pytest.param("/accounts/logout/", "/accounts/logout/", "auth", id="logout"),
    pytest.param("/accounts/new/", "/accounts/new/", "auth", id="register"),
    pytest.param("/accounts/password_reset/", "/accounts/password_reset/", "auth", id="reset"),
    pytest.param(
        "/accounts/password_reset/done/", "/accounts/password_reset/done/", PAGE, id="reset-sent"
    ),
    pytest.param("/accounts/password_change/", "/accounts/password_change/", "auth", id="change"),
    pytest.param(
        "/accounts/password_change/done/", "/accounts/password_change/done/", PAGE, id="changed"
    ),
    pytest.param("/accounts/password_set/", "/accounts/password_set/", "auth", id="password-set"),
    pytest.param(
        "/accounts/reset/MQ/abc-123/", "/accounts/reset/{uid}/{token}/", "auth", id="reset-token"
    ),
    pytest.param("/accounts/reset/done/", "/accounts/reset/done/", PAGE, id="reset-done"),
    pytest.param("/accounts/reset/MQ/", ACCOUNT, PAGE, id="reset-cut-off"),
    pytest.param("/openid/login/", "/openid/login/", "auth", id="openid-login"),
    pytest.param("/openid/complete/", "/openid/complete/", "auth", id="openid-complete"),
    pytest.param("/openid/logo.gif", "/openid/{page}", PAGE, id="openid-page"),
    pytest.param(
        f"/accounts/confirm_email/{SHA256}", "/accounts/confirm_email/{key}", "auth", id="email-key"
    ),
    pytest.param(
        f"/accounts/confirm_openid/{MD5}", "/accounts/confirm_openid/{key}", PAGE, id="openid-key"
    ),
    pytest.param("/accounts/profile/", "/accounts/profile/", PAGE, id="own-profile"),
    pytest.param("/accounts/profile/jane", "/accounts/profile/{user}", PAGE, id="profile"),
    pytest.param("/accounts/xprofile/jane", "/accounts/profile/{user}", PAGE, id="profile-x"),
    pytest.param("/accounts/profile/a/b@c", "/accounts/profile/{user}", PAGE, id="profile-email"),
    *(
        pytest.param(f"/accounts/{name}/5", f"/accounts/{name}/{{id}}", PAGE, id=name)
        for name in (
            "remove_unconfirmed_openid", "remove_confirmed_openid", "openid_redirection",
            "remove_unconfirmed_email", "remove_confirmed_email", "assign_photo_email",
            "assign_photo_openid", "assign_bluesky_handle_to_email",
            "assign_bluesky_handle_to_openid", "delete_photo", "raw_image", "crop_photo",
            "resend_confirmation_mail",
        )
    ),
    *(
        pytest.param(f"/accounts/{name}/", f"/accounts/{name}/", PAGE, id=name)
        for name in ("export", "delete", "add_email", "add_openid", "pref")
    ),
    pytest.param("/accounts/jane@example.org", ACCOUNT, PAGE, id="unknown-account-page"),
    pytest.param("/accounts/login", ACCOUNT, PAGE, id="login-without-slash"),
    pytest.param("/accounts/login/\n", ACCOUNT, PAGE, id="login-newline"),
    pytest.param("/accounts", "other", "other", id="accounts-without-slash"),
    pytest.param("/stats/", "/stats/", "stats", id="stats"),
    pytest.param("/stats/x", "other", "other", id="below-stats"),
    pytest.param("/tools/check/", "/tools/check/", PAGE, id="check"),
    pytest.param("/tools/check_domain/", "/tools/check_domain/", PAGE, id="check-domain"),
    pytest.param("/tools/check_domain", "/tools/check_domain/", PAGE, id="check-domain-no-slash"),
    pytest.param("/tools/x", "/tools/{page}", PAGE, id="unknown-tool"),
    pytest.param("/admin/login/", "/admin/login/", "auth", id="admin-login"),
    pytest.param("/admin/logout/", "/admin/logout/", "auth", id="admin-logout"),
    pytest.param("/admin/", "/admin/{page}", PAGE, id="admin"),
    pytest.param(f"/admin/avatar/{MD5}", "/admin/{page}", PAGE, id="admin-keeps-everything"),
    pytest.param("/i18n/setlang/", "/i18n/{page}", PAGE, id="language"),
    pytest.param("/static/img/nobody/80.png", "/static/{file}", "static", id="static"),
    *(
        pytest.param(f"/{name}/", f"/{name}/", PAGE, id=name)
        for name in (
            "description", "run_your_own", "features", "security", "privacy", "contact",
            "talk_to_us",
        )
    ),
    pytest.param("/", "/", PAGE, id="home"),
    pytest.param("", "/", PAGE, id="empty-path"),
    pytest.param("/favicon.ico", "other", "other", id="unknown"),
    pytest.param("/description/x", "other", "other", id="below-a-page"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "template", "kind"), PATHS)
def test_path(path: str, template: str, kind: str) -> None:
    """Every row of the URL table has its template and kind, resolved as Django resolves it."""
    route = PROFILE.route(path)
    assert (route.template, route.kind) == (template, kind)


def test_table_is_complete() -> None:
    """The table of this file reaches every route of the profile."""
    reached = {PROFILE.route(str(param.values[0])) for param in PATHS}
    assert reached == {*PROFILE.routes, PROFILE.other}


@pytest.mark.parametrize(
    ("path", "cached", "service"),
    [
        pytest.param(f"/avatar/{MD5}", True, "", id="avatar"),
        pytest.param("/avatar/", True, "", id="no-digest"),
        pytest.param("/avatar/x", False, "", id="redirect-without-look-up"),
        pytest.param(f"/gravatarproxy/{MD5}", False, "gravatar", id="gravatar"),
        pytest.param(f"/blueskyproxy/{MD5}", False, "bluesky", id="bluesky"),
        pytest.param("/accounts/login/", False, "", id="page"),
    ],
)
def test_cache_and_service(path: str, cached: bool, service: str) -> None:
    """The avatar view asks the avatar cache, and a proxy names the service behind it."""
    route = PROFILE.route(path)
    assert (route.cached, route.service) == (cached, service)


def test_operations_are_closed() -> None:
    """The operations of the routes are exactly those that the profile lists."""
    operations: dict[str, set[str]] = {}
    for route in PROFILE.routes:
        operations.setdefault(route.kind if route.operation else "", set()).add(route.operation)
    assert operations == {"": {""}, "auth": set(OPERATIONS), "import": set(IMPORTS)}


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/accounts/login/", "login"),
        ("/admin/login/", "login"),
        ("/accounts/logout/", "logout"),
        ("/admin/logout/", "logout"),
        ("/accounts/new/", "register"),
        ("/accounts/password_reset/", "password_reset"),
        ("/accounts/reset/MQ/token/", "password_reset_confirm"),
        ("/accounts/password_change/", "password_change"),
        ("/accounts/password_set/", "password_set"),
        ("/openid/login/", "openid"),
        ("/openid/complete/", "openid"),
        (f"/accounts/confirm_email/{SHA256}", "confirm_email"),
    ],
)
def test_operation(path: str, operation: str) -> None:
    """An authentication route names what it tries."""
    assert PROFILE.route(path).operation == operation


LOGIN_NEXT = "/accounts/login/?next=/accounts/x/"
UPLOAD, IMPORT = "/accounts/upload_photo/", "/accounts/import_photo/"
EXPORT, SAVE = "/accounts/upload_export/", "/accounts/upload_export/save"
LOGIN, LOGOUT, NEW = "/accounts/login/", "/accounts/logout/", "/accounts/new/"
RESET, CONFIRM = "/accounts/password_reset/", "/accounts/reset/MQ/set-password/"
CHANGE, SET = "/accounts/password_change/", "/accounts/password_set/"
BEGIN, COMPLETE = "/openid/login/", "/openid/complete/"
KEY = f"/accounts/confirm_email/{SHA256}"
PROFILE_PAGE = "/accounts/profile/"


@pytest.mark.parametrize(
    ("path", "method", "status", "location", "success"),
    [
        pytest.param(UPLOAD, "POST", 302, "/accounts/crop_photo/5", True, id="upload"),
        pytest.param(
            UPLOAD, "POST", 302, "https://h.example/accounts/crop_photo/5", True, id="upload-https"
        ),
        pytest.param(UPLOAD, "POST", 302, "//h/accounts/crop_photo/5", True, id="upload-host"),
        pytest.param(UPLOAD, "POST", 302, "/p/accounts/crop_photo/5?a=b#c", True, id="upload-sub"),
        pytest.param(UPLOAD, "POST", 302, "../crop_photo/5", True, id="upload-relative"),
        pytest.param(UPLOAD, "POST", 302, PROFILE_PAGE, False, id="upload-refused"),
        pytest.param(
            UPLOAD, "POST", 302, "/accounts/login/?next=/accounts/crop_photo/5", False,
            id="upload-stranger",
        ),
        pytest.param(UPLOAD, "POST", 302, "http://crop_photo/x", False, id="upload-host-named-so"),
        pytest.param(UPLOAD, "POST", 302, "/no_crop_photo/5", False, id="upload-longer-segment"),
        pytest.param(UPLOAD, "POST", 302, "http://[::1/crop", False, id="upload-broken-location"),
        pytest.param(UPLOAD, "POST", 302, "", False, id="upload-no-location"),
        pytest.param(UPLOAD, "POST", 200, "", False, id="upload-redrawn"),
        pytest.param(UPLOAD, "POST", 200, "/accounts/crop_photo/5", False, id="upload-not-sent-on"),
        pytest.param(UPLOAD, "POST", 403, "", False, id="upload-csrf"),
        pytest.param(UPLOAD, "POST", 413, "", False, id="upload-too-large"),
        pytest.param(UPLOAD, "POST", 500, "", False, id="upload-error"),
        pytest.param(UPLOAD, "POST", 0, "", False, id="upload-no-answer"),
        pytest.param(UPLOAD, "GET", 200, "", None, id="upload-form"),
        pytest.param(UPLOAD, "GET", 302, LOGIN_NEXT, None, id="upload-form-stranger"),
        pytest.param(UPLOAD, "HEAD", 200, "", None, id="upload-head"),
        pytest.param(UPLOAD, "OPTIONS", 200, "", None, id="upload-options"),
        pytest.param(IMPORT, "POST", 302, PROFILE_PAGE, True, id="import"),
        pytest.param(IMPORT + "a@b.c", "POST", 302, PROFILE_PAGE, True, id="import-email"),
        pytest.param(IMPORT + "5", "POST", 302, PROFILE_PAGE, True, id="import-id"),
        pytest.param(IMPORT, "POST", 302, LOGIN_NEXT, False, id="import-stranger"),
        pytest.param(IMPORT, "POST", 500, "", False, id="import-error"),
        pytest.param(IMPORT, "GET", 200, "", None, id="import-form"),
        pytest.param(EXPORT, "POST", 200, "", True, id="export-shown"),
        pytest.param(EXPORT, "POST", 302, EXPORT, False, id="export-unreadable"),
        pytest.param(EXPORT, "POST", 302, LOGIN_NEXT, False, id="export-stranger"),
        pytest.param(EXPORT, "POST", 403, "", False, id="export-csrf"),
        pytest.param(EXPORT, "GET", 200, "", None, id="export-form"),
        pytest.param(SAVE, "POST", 302, PROFILE_PAGE, True, id="save"),
        pytest.param(SAVE, "POST", 302, LOGIN_NEXT, False, id="save-stranger"),
        pytest.param(SAVE, "GET", 200, "", None, id="save-form"),
        pytest.param(LOGIN, "POST", 302, PROFILE_PAGE, True, id="login"),
        pytest.param(LOGIN, "POST", 302, "/?next=/accounts/login/", True, id="login-elsewhere"),
        pytest.param(LOGIN, "POST", 302, "/accounts/login/", False, id="login-again"),
        pytest.param(LOGIN, "POST", 302, "http://h/p/accounts/login/?x", False, id="login-far"),
        pytest.param(LOGIN, "POST", 200, "", False, id="login-wrong"),
        pytest.param(LOGIN, "POST", 403, "", False, id="login-csrf"),
        pytest.param(LOGIN, "POST", 500, "", False, id="login-error"),
        pytest.param(LOGIN, "GET", 200, "", None, id="login-form"),
        pytest.param(LOGIN, "GET", 302, PROFILE_PAGE, None, id="login-form-known-user"),
        pytest.param(LOGIN, "HEAD", 200, "", None, id="login-head"),
        pytest.param(LOGIN, "OPTIONS", 200, "", None, id="login-options"),
        pytest.param("/admin/login/", "POST", 302, "/admin/", True, id="admin-login"),
        pytest.param("/admin/login/", "POST", 200, "", False, id="admin-login-wrong"),
        pytest.param("/admin/login/", "GET", 200, "", None, id="admin-login-form"),
        pytest.param(LOGOUT, "GET", 302, "/", True, id="logout-get"),
        pytest.param(LOGOUT, "POST", 302, "/", True, id="logout-post"),
        pytest.param(LOGOUT, "POST", 200, "", True, id="logout-page"),
        pytest.param(LOGOUT, "GET", 405, "", False, id="logout-get-refused"),
        pytest.param(LOGOUT, "POST", 403, "", False, id="logout-csrf"),
        pytest.param(LOGOUT, "POST", 500, "", False, id="logout-error"),
        pytest.param(LOGOUT, "HEAD", 302, "/", True, id="logout-head"),
        pytest.param(NEW, "POST", 302, PROFILE_PAGE, True, id="register"),
        pytest.param(NEW, "POST", 200, "", False, id="register-redrawn"),
        pytest.param(NEW, "POST", 403, "", False, id="register-csrf"),
        pytest.param(NEW, "GET", 200, "", None, id="register-form"),
        pytest.param(RESET, "POST", 302, "/accounts/password_reset/done/", True, id="reset"),
        pytest.param(RESET, "POST", 200, "", False, id="reset-redrawn"),
        pytest.param(RESET, "GET", 200, "", None, id="reset-form"),
        pytest.param(CONFIRM, "POST", 302, "/accounts/reset/done/", True, id="confirm"),
        pytest.param(CONFIRM, "POST", 200, "", False, id="confirm-redrawn"),
        pytest.param(CONFIRM, "GET", 302, CONFIRM, None, id="confirm-link-followed"),
        pytest.param(CHANGE, "POST", 302, "/accounts/password_change/done/", True, id="change"),
        pytest.param(CHANGE, "POST", 302, LOGIN_NEXT, False, id="change-stranger"),
        pytest.param(CHANGE, "POST", 200, "", False, id="change-redrawn"),
        pytest.param(CHANGE, "GET", 200, "", None, id="change-form"),
        pytest.param(SET, "POST", 302, "/accounts/login/", True, id="set-then-log-in"),
        pytest.param(SET, "POST", 302, LOGIN_NEXT, False, id="set-stranger"),
        pytest.param(SET, "POST", 200, "", False, id="set-redrawn"),
        pytest.param(SET, "GET", 200, "", None, id="set-form"),
        pytest.param(BEGIN, "POST", 302, "https://provider.example/", None, id="openid-begun"),
        pytest.param(BEGIN, "POST", 200, "", None, id="openid-begun-by-form"),
        pytest.param(BEGIN, "POST", 500, "", False, id="openid-no-provider"),
        pytest.param(BEGIN, "POST", 403, "", False, id="openid-csrf"),
        pytest.param(BEGIN, "POST", 0, "", False, id="openid-no-answer"),
        pytest.param(BEGIN, "GET", 200, "", None, id="openid-form"),
        pytest.param(COMPLETE, "GET", 302, PROFILE_PAGE, True, id="openid-get"),
        pytest.param(COMPLETE, "POST", 302, PROFILE_PAGE, True, id="openid-post"),
        pytest.param(COMPLETE, "GET", 403, "", False, id="openid-refused"),
        pytest.param(COMPLETE, "GET", 302, "/accounts/login/", False, id="openid-log-in-again"),
        pytest.param(COMPLETE, "GET", 500, "", False, id="openid-error"),
        pytest.param(COMPLETE, "HEAD", 403, "", False, id="openid-head"),
        pytest.param(KEY, "GET", 200, "", True, id="key"),
        pytest.param(KEY, "GET", 302, PROFILE_PAGE, False, id="key-wrong"),
        pytest.param(KEY, "GET", 500, "", False, id="key-error"),
        pytest.param(KEY, "HEAD", 200, "", True, id="key-head"),
        pytest.param(KEY, "HEAD", 302, PROFILE_PAGE, False, id="key-head-wrong"),
        pytest.param(KEY, "OPTIONS", 200, "", None, id="key-options"),
    ],
)  # fmt: skip
def test_success(path: str, method: str, status: int, location: str, success: bool | None) -> None:
    """Success follows from method, status and Location, and is no value where nothing was tried."""
    rule = PROFILE.route(path).succeeded
    assert rule is not None
    assert rule(method, status, location) is success


@given(
    st.sampled_from([route.succeeded for route in PROFILE.routes if route.succeeded]),
    st.sampled_from(labels.METHODS) | st.text(),
    st.integers(),
    st.text(st.characters())
    | st.lists(st.sampled_from(["/", "//", ":", "?", "#", "a"])).map("".join),
)
def test_success_never_raises(rule, method: str, status: int, location: str) -> None:  # type: ignore[no-untyped-def]
    """Whatever an application answers, a rule says yes, no or nothing."""
    assert rule(method, status, location) in (True, False, None)


# First, so that a pattern that hangs is seen to fail before it hangs the properties below.
def repeats(pattern) -> list[int]:  # type: ignore[no-untyped-def]
    """How deep each unbounded repetition of a parsed pattern is nested in others."""
    depths: list[int] = []

    def walk(node, depth: int) -> None:  # type: ignore[no-untyped-def]
        if isinstance(node, tuple) and node and node[0] in (
            sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT,
        ):  # fmt: skip
            _, (_, most, body) = node
            unbounded = most is sre_constants.MAXREPEAT
            if unbounded:
                depths.append(depth)
            walk(body, depth + unbounded)
        elif isinstance(node, (tuple, list, sre_parse.SubPattern)):
            for part in node:
                walk(part, depth)

    walk(pattern, 0)
    return depths


def test_the_inspection_sees_nesting() -> None:
    """The inspection used below tells a nested repetition from a plain one."""
    assert repeats(sre_parse.parse("(a+)+b*")) == [0, 1, 0]


@pytest.mark.parametrize(
    ("path", "personal"),
    [
        pytest.param(f"/avatar/{MD5}.png", ("digest", MD5), id="md5"),
        pytest.param(f"/x/avatar/{SHA256}abc", ("digest", SHA256), id="sha256"),
        pytest.param(f"/avatar/{SHA256[:-1]}", ("digest", SHA256[:32]), id="63-characters"),
        pytest.param(f"/gravatarproxy/{MD5}", ("digest", MD5), id="gravatar"),
        pytest.param(f"/blueskyproxy/{SHA256}", ("digest", SHA256), id="bluesky"),
        pytest.param("/accounts/import_photo/a+b@c.example", ("email", "a+b@c.example"), id="mail"),
        pytest.param("/accounts/x/import_photo/a@b.c/d", ("email", "a@b.c"), id="mail-unanchored"),
        pytest.param("/avatar/someone@example.org", None, id="invalid-digest"),
        pytest.param("/gravatarproxy/x", None, id="gravatar-without-digest"),
        pytest.param("/accounts/import_photo/12", None, id="import-id"),
        pytest.param("/", None, id="page"),
    ],
)
def test_personal(path: str, personal: tuple[str, str] | None) -> None:
    """Digests and addresses are found where ivatar itself finds them."""
    assert PROFILE.personal(PROFILE.route(path), path) == personal


@pytest.mark.parametrize("route", PROFILE.routes, ids=lambda route: route.template)
def test_no_nested_repetition(route) -> None:  # type: ignore[no-untyped-def]
    """No pattern repeats a repetition, which is what backtracks exponentially."""
    assert not any(repeats(sre_parse.parse(route.pattern)))
    assert not any(repeats(sre_parse.parse(route.reveals)))


LONG_PATHS = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))  # its own time, whatever else runs
from avatar_telemetry.profiles.ivatar import PROFILE, size
LENGTH = 1 << 16
words = ["avatar/", "profile/", "import_photo/", "import_photo/a@", "import_photo/a@b", "reset/a/",
         "confirm_email/", "a", "1", "@", "a@", ".", "a.", "%", "%41", "/", "\\0", "\\n", "a\\n",
         "\\xff", "\\xc3\\xa9", "\\xe2\\x82", "\\ud800", "crop_photo/", "check_domain"]
for prefix in ("", "/", "/accounts/", "/accounts/import_photo/", "/accounts/import_photo/a@",
               "/accounts/import_photo/a@b", "/accounts/reset/", "/avatar/", "/tools/"):
    for word in words:
        for end in ("", "@", "\\n", "/"):
            path = prefix + word * (LENGTH // len(word)) + end
            PROFILE.personal(PROFILE.route(path), path)
for word in ("s=", "s=1&", "&", "=", "s", "%", "%73", "+", "9", "s=9", "_1", " ", "\\xff", ";"):
    for key in ("", "s=", "size=", "%73="):
        size(key + word * (LENGTH // len(word)))
print("classified")
"""


def test_long_hostile_input_ends() -> None:
    """64 KB of every repetition that a pattern could stumble on are classified without a hang."""
    # It needs 1 s of processor time, but 16 s on Python 3.10; one that hangs needs years.
    run = [sys.executable, "-c", LONG_PATHS]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == "classified\n"


FRAGMENTS = [
    "/", "//", "accounts/", "avatar/", "gravatarproxy/", "static/", "openid/", "tools/", "profile/",
    "import_photo/", "confirm_email/", "reset/", "crop_photo/", "login/", "done/", "save", MD5, "5",
    "a@b.c", "@", "%", "%2e", ".", "\x00", "\n", "\xff", "\xc3\xa9", "\ud800", "\u20ac",
]  # fmt: skip
HOSTILE = (
    st.text(st.characters())
    | st.binary().map(lambda data: data.decode("latin-1"))
    | st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
)


@given(HOSTILE)
def test_any_path_has_a_route(path: str) -> None:
    """Any text and any bytes belong to a route of the profile."""
    assert PROFILE.route(path) in {*PROFILE.routes, PROFILE.other}


@given(HOSTILE)
@example("/accounts/upload_photo/")
@example("/accounts/reset/done/")
def test_index_changes_nothing(path: str) -> None:
    """The index answers exactly what trying every route in order would."""
    decoded = path.encode("latin-1", "replace").decode("utf-8", "replace")
    expected = next(
        (route for route in PROFILE.routes if re.search(route.pattern, decoded)), PROFILE.other
    )
    assert PROFILE.route(path) is expected


SECRETS = st.text(string.hexdigits, min_size=20, max_size=64) | st.text(
    st.characters(min_codepoint=128), min_size=1
)


@pytest.mark.parametrize(
    "path",
    [
        "/avatar/{}", "/avatar/{}.png", "/gravatarproxy/{}", "/blueskyproxy/{}", "/x/avatar/{}",
        "/accounts/reset/{}/token/", "/accounts/reset/MQ/{}/", "/accounts/confirm_email/{}",
        "/accounts/confirm_openid/{}", "/accounts/import_photo/{}@example.org",
        "/accounts/import_photo/jane@{}.org", "/accounts/import_photo/{}", "/accounts/profile/{}",
        "/accounts/{}", "/openid/{}", "/admin/auth/user/{}", "/static/{}", "/tools/{}", "/i18n/{}",
        "/{}", "/{}/avatar/",
    ],
)  # fmt: skip
@given(secret=SECRETS)
def test_template_holds_no_secret(path: str, secret: str) -> None:
    """Nothing of a path that a client chose is found in its template."""
    assert secret not in PROFILE.route(path.format(secret)).template


def reference_size(query: str) -> int:
    """What ivatar makes of a query, spelled out with the standard library."""
    data = query.encode("latin-1")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    values = dict(parse_qsl(text, keep_blank_values=True))
    wanted = values.get("size", values.get("s", ""))
    try:
        pixels = int(wanted)
    except ValueError:
        return 80
    return min(pixels, 512) if pixels > 0 else 80


QUERY_PIECES = [
    "s", "size", "d", "=", "&", ";", "80", "512", "513", "0", "-1", "1", "%73", "%69", "%38", "%",
    "%20", "%00", "%D9%A8", "%ff", "+", " ", "_", "\x00", "\n", "\xff", "\xd9\xa8", "x",
]  # fmt: skip


@given(
    st.binary().map(lambda data: data.decode("latin-1"))
    | st.builds(
        str.__add__,
        st.sampled_from(["", "s=", "size=", "s=1&size="]),
        st.lists(st.sampled_from(QUERY_PIECES), max_size=10).map("".join),
    )
)
def test_size_is_read_as_ivatar_reads_it(query: str) -> None:
    """The size of any query is what ivatar's own reading of it gives."""
    assert size(query) == reference_size(query)


@given(st.text(st.characters()))
def test_size_never_raises(text: str) -> None:
    """Text that WSGI would never give has a size all the same."""
    assert 1 <= size(text) <= 512
    assert 1 <= size("s=" + text) <= 512


@pytest.mark.parametrize(
    ("query", "pixels"),
    [
        pytest.param("", 80, id="empty"),
        pytest.param("d=identicon", 80, id="not-asked"),
        pytest.param("s=100", 100, id="s"),
        pytest.param("size=100", 100, id="size"),
        pytest.param("size=100&s=200", 100, id="size-wins"),
        pytest.param("s=200&size=", 80, id="empty-size-wins"),
        pytest.param("s=200&size", 80, id="bare-size-wins"),
        pytest.param("s=100&s=200", 200, id="last-wins"),
        pytest.param("s=512", 512, id="largest"),
        pytest.param("s=513", 512, id="clamped"),
        pytest.param("s=1", 1, id="smallest"),
        pytest.param("s=0", 80, id="zero"),
        pytest.param("s=-5", 80, id="negative"),
        pytest.param("s=abc", 80, id="no-number"),
        pytest.param("s=80.5", 80, id="fraction"),
        pytest.param("s=%31%30%30", 100, id="percent-encoded"),
        pytest.param("%73=100", 100, id="percent-encoded-key"),
        pytest.param("%73%69%7A%65=100", 100, id="percent-encoded-long-key"),
        pytest.param("s=+100+", 100, id="plus-is-space"),
        pytest.param("s=%2B100", 100, id="sign"),
        pytest.param("s=1_0_0", 100, id="underscores-of-int"),
        pytest.param("s=%D9%A1%D9%A0%D9%A0", 100, id="arabic-digits-encoded"),
        pytest.param("s=\xd9\xa1\xd9\xa0\xd9\xa0", 100, id="arabic-digits-raw"),
        pytest.param("s=100;d=x", 80, id="semicolon-separates-nothing"),
        pytest.param("S=100", 80, id="case"),
        pytest.param("s=100\x00", 80, id="nul"),
        pytest.param("s=\ud800", 80, id="lone-surrogate"),
        pytest.param("&" * 999 + "s=100", 100, id="as-many-fields-as-django-takes"),
        pytest.param("&" * 1000 + "s=100", 80, id="more-fields-than-django-takes"),
    ],
)
def test_size(query: str, pixels: int) -> None:
    """The size is clamped and defaulted as ivatar does it."""
    assert size(query) == pixels


def test_huge_number_is_a_size() -> None:
    """A number with more digits than int() reads is no number, or the largest size where it is."""
    assert size("s=" + "9" * 5000) in (80, 512)


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("secure.gravatar.com", "gravatar"),
        ("www.gravatar.com", "gravatar"),
        ("gravatar.com", "gravatar"),
        ("2.gravatar.com", "gravatar"),
        ("public.api.bsky.app", "bluesky"),
        ("cdn.bsky.app", "bluesky"),
        ("bsky.app", "bluesky"),
        ("bsky.social", "bluesky"),
        ("seccdn.libravatar.org", "other"),
    ],
)
def test_service(host: str, service: str) -> None:
    """The hosts that ivatar calls, and what is below them, count for their service."""
    assert labels.service(host, PROFILE.services) == service


def test_other_knowledge() -> None:
    """The profile names ivatar's avatar cache, its generators, and what the rest is."""
    assert PROFILE.avatar_cache == ("django:filesystem",)
    assert len(PROFILE.generators) == 6
    assert PROFILE.image_without_generator == "uploaded"
    assert PROFILE.size is size
