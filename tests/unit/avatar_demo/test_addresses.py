"""Addresses of a user, and their photos."""

import hashlib

import pytest

PROFILE = "/accounts/profile/"
BOB = hashlib.md5(b"bob@example.org").hexdigest()


@pytest.mark.parametrize(
    ("page", "field", "value", "added"),
    [
        pytest.param("add_email", "email", " Bob@Example.org ", True, id="e-mail"),
        pytest.param("add_email", "email", "bob", False, id="no e-mail"),
        pytest.param("add_email", "email", "a@b.c\r\nX: 1", False, id="line break"),
        pytest.param("add_email", "email", "x" * 250 + "@a.org", False, id="long"),
        pytest.param("add_email", "email", "ann@example.org", False, id="taken"),
        pytest.param("add_openid", "openid", "https://Ann.example.org/", True, id="OpenID"),
        pytest.param("add_openid", "openid", "ftp://ann.example.org/", False, id="no OpenID"),
        pytest.param("add_openid", "openid", "https://[", False, id="no URL"),
    ],
)
def test_add(member, page, field, value, added):
    """An address is added at once, or the form shown again."""
    response = member.post(f"/accounts/{page}/", {field: value})
    assert response.status_int == (302 if added else 200)
    assert ('role="alert"' in response.text) is not added


def test_choose_a_photo(member, photo):
    """An address gets the photo that is chosen for it, or none."""
    for _ in range(2):
        member.upload(photo())
    member.post("/accounts/add_email/", {"email": "bob@example.org"})
    page, avatar = "/accounts/assign_photo_email/2", f"/avatar/{BOB}?d=404&s="
    assert member.get(avatar + "1").status_int == 404
    assert 'value="2"' in member.get(page).text
    member.post(page, {"photo_id": "2"})
    assert member.get(avatar + "2").status_int == 200
    member.post(page, {"photo_id": "77"})
    assert member.message() == "There is no such photo."
    member.post(page, {"photoNone": "1"})
    assert member.get(avatar + "3").status_int == 404


@pytest.mark.parametrize("page", ["assign_photo_email", "assign_bluesky_handle_to_email"])
def test_addresses_of_others(application, member, new_browser, page):
    """An address's pages are for its owner only."""
    stranger = new_browser(application)
    stranger.register("bob")
    assert stranger.get(f"/accounts/{page}/1").status_int == 404
    assert stranger.post("/accounts/remove_confirmed_email/1").status_int == 404


def test_remove(member):
    """A removed address is free for others."""
    assert member.post("/accounts/remove_confirmed_email/1").status_int == 302
    assert member.get("/stats/").json["mails"] == 0
    assert member.post("/accounts/add_email/", {"email": "ann@example.org"}).status_int == 302


def test_profile_by_name(member):
    """A profile by name is there for its owner, and for nobody else."""
    assert member.get("/accounts/profile/ann@example.org").status_int == 200
    assert member.get("/accounts/profile/bob").status_int == 404


def test_names_are_escaped(browser):
    """A username is text on every page, never HTML."""
    browser.register("<script>alert(1)</script>")
    text = browser.get(PROFILE).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
