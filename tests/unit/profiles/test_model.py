"""Profiles: classification, its shortcuts, and what a profile refuses to be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry._base.errors import ProfileError
from avatar_telemetry.profiles.model import Profile, Route, no_size


def always(method: str, status: int, location: str) -> bool | None:
    return True


ROUTES = (
    Route(r"^/shop/\d+\Z", "/shop/{id}"),
    Route(r"special", "special"),
    Route(r"^/shop/special/\Z", "/shop/special/"),
    Route(r"^/shop/", "/shop/{page}"),
    Route(r"^/either\Z|^/or\Z", "either"),
    Route(r"^/slash/?$", "/slash"),
    Route(r"^/line$", "/line"),
    Route(r"^/many/*x", "/many"),
    Route(r"^/about/us/\Z", "/about/us/"),
    Route(r"^/é/", "accent"),
    Route(r"^/\Z", "/"),
)
SHOP = Profile(name="shop", routes=ROUTES)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        pytest.param("/shop/12", "/shop/{id}", id="first-segment"),
        pytest.param("/shop/x", "/shop/{page}", id="falls-through-in-order"),
        pytest.param("/shop/special/", "special", id="unanchored-earlier-wins-over-whole-path"),
        pytest.param("/x/special", "special", id="unanchored-anywhere"),
        pytest.param("/shop", "other", id="segment-without-slash"),
        pytest.param("/shops/12", "other", id="longer-segment"),
        pytest.param("//shop/12", "other", id="empty-first-segment"),
        pytest.param("/either", "either", id="alternative-first"),
        pytest.param("/or", "either", id="alternative-second"),
        pytest.param("/slash", "/slash", id="optional-slash-absent"),
        pytest.param("/slash/\n", "/slash", id="optional-slash-newline"),
        pytest.param("/slash\n", "/slash", id="no-slash-newline"),
        pytest.param("/line\n", "/line", id="dollar-before-newline"),
        pytest.param("/manyx", "/many", id="slash-that-may-be-absent"),
        pytest.param("/many//x", "/many", id="slash-that-may-repeat"),
        pytest.param("/about/us/", "/about/us/", id="whole-path"),
        pytest.param("/about/us/\n", "other", id="whole-path-and-newline"),
        pytest.param("/\xc3\xa9/", "accent", id="utf-8-shown-as-latin-1"),
        pytest.param("/\xe9/", "other", id="not-utf-8"),
        pytest.param("/", "/", id="root"),
        pytest.param("", "other", id="empty"),
    ],
)
def test_route(path: str, template: str) -> None:
    """A path belongs to the first route whose pattern is found in it."""
    assert SHOP.route(path).template == template


PIECES = st.sampled_from([
    "/", "shop", "special", "either", "or", "slash", "line", "many", "about", "us", "12", "x", "\n",
])  # fmt: skip


@given(st.lists(PIECES, max_size=7).map("".join) | st.text(st.characters()))
def test_shortcuts_change_nothing(path: str) -> None:
    """The index answers exactly what trying every route in order would."""
    decoded = path.encode("latin-1", "replace").decode("utf-8", "replace")
    expected = next((each for each in ROUTES if re.search(each.pattern, decoded)), SHOP.other)
    assert SHOP.route(path) is expected


def test_same_template_twice() -> None:
    """Two equal routes in a profile are one route to it."""
    twice = Profile(name="twice", routes=(Route("^/a/", "a"), Route("^/a/", "a")))
    assert twice.route("/a/").template == "a"


@pytest.mark.parametrize(
    ("route", "message"),
    [
        pytest.param(Route("(", "x"), r"pattern '\('", id="bad-regex"),
        pytest.param(Route("a{99999999999999999999}", "x"), "pattern 'a", id="regex-too-large"),
        pytest.param(Route("x", "x", "cat"), "kind 'cat' is none of", id="unknown-kind"),  # type: ignore[arg-type]
        pytest.param(
            Route("x", "x", "upload"), "kind 'upload' needs succeeded=", id="upload-without-rule"
        ),
        pytest.param(
            Route("x", "x", "auth", "login"), "kind 'auth' needs succeeded=", id="auth-without-rule"
        ),
        pytest.param(
            Route("x", "x", "auth", succeeded=always), "needs operation=", id="auth-without-name"
        ),
        pytest.param(Route("x", "x", reveals="("), r"pattern '\('", id="bad-reveals"),
        pytest.param(Route("x", "x", reveals="x"), "needs one group", id="reveals-nothing"),
        pytest.param(Route("x", "x", reveals="(?P<name>x)"), "needs one group", id="reveals-name"),
    ],
)
def test_bad_route(route: Route, message: str) -> None:
    """A route that cannot work is refused, with the name of the profile and the reason."""
    with pytest.raises(ProfileError, match=rf"profile 'bad': .*{message}"):
        Profile(name="bad", routes=(route,))


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        pytest.param("", "pixels", id="empty-key"),
        pytest.param("a b", "pixels", id="key-with-space"),
        pytest.param("a", "words", id="unknown-rule"),
        pytest.param("a", frozenset({"a&b"}), id="word-that-needs-encoding"),
        pytest.param("a", ["b"], id="list"),
    ],
)
def test_bad_query(key: str, rule: object) -> None:
    """A query rule that could let pass what it should not is refused."""
    with pytest.raises(ProfileError, match=f"query key '{key}'"):
        Profile(name="bad", query={key: rule})  # type: ignore[dict-item]


def test_personal() -> None:
    """A route says what of its path is personal, and only routes that were told do."""
    person = Route("^/of/", "/of/{email}", reveals="^/of/(?P<email>[^/]+)")
    profile = Profile(name="people", routes=(person, Route("^/", "/{page}")))
    assert profile.personal(person, "/of/me@x.example/now") == ("email", "me@x.example")
    assert profile.personal(person, "/of/\xc3\xa9") == ("email", "é")
    assert profile.personal(person, "/of/" + "x" * 300) == ("email", "x" * 255)
    assert profile.personal(person, "/of/") is None
    assert profile.personal(profile.route("/x"), "/x") is None
    assert profile.personal(profile.other, "x") is None


@pytest.mark.parametrize("target", ["", "module", "module:", ":name", "a:b:c", "a b:c"])
def test_bad_generator(target: str) -> None:
    """A generator that is no module:attribute is refused."""
    with pytest.raises(ProfileError, match="is not module:attribute"):
        Profile(name="bad", generators=(target,))


def test_all_faults_at_once() -> None:
    """The message names every fault of a profile, not only the first."""
    with pytest.raises(ProfileError, match=r"pattern.*; .*needs succeeded=.*; .*module:attribute"):
        Profile(name="bad", routes=(Route("(", "x"), Route("x", "y", "upload")), generators=("z",))


def test_default_size_rule() -> None:
    """Without a rule of its own an application's pictures have no size."""
    assert Profile(name="plain").size is no_size
    assert no_size("s=80") is None
