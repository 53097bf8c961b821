"""Registration, login, logout and passwords."""

import re

import pytest

PASSWORD = "correct horse"
PROFILE = "/accounts/profile/"


def test_registration(browser):
    """A new user is logged in and has the address that is the username."""
    response = browser.register()
    assert (response.status_int, response.headers["Location"]) == (302, PROFILE)
    assert "ann@example.org" in browser.get(PROFILE).text
    assert browser.get("/stats/").json["users"] == 1
    assert browser.get("/stats/").json["mails"] == 1


@pytest.mark.parametrize(
    ("username", "one", "two", "error"),
    [
        pytest.param("", PASSWORD, PASSWORD, "A username", id="no name"),
        pytest.param("x" * 151, PASSWORD, PASSWORD, "A username", id="long name"),
        pytest.param("bob", "short", "short", "8 to 1024", id="short password"),
        pytest.param("bob", "x" * 1025, "x" * 1025, "8 to 1024", id="long password"),
        pytest.param("bob", PASSWORD, PASSWORD + "x", "differ", id="different passwords"),
    ],
)
def test_registration_fails(browser, username, one, two, error):
    """The response to a registration that cannot be is the form with the reason."""
    fields = {"username": username, "password1": one, "password2": two}
    response = browser.post("/accounts/new/", fields)
    assert response.status_int == 200
    assert error in response.text
    assert "sessionid" not in browser.cookies


def test_name_is_taken(application, new_browser):
    """A username belongs to one user."""
    assert new_browser(application).register("bob").status_int == 302
    response = new_browser(application).register("bob")
    assert response.status_int == 200
    assert "taken" in response.text


def test_login_and_logout(member):
    """Logging out ends the session itself, not only the browser's cookie."""
    member.post("/accounts/logout/")
    assert "sessionid" not in member.cookies
    assert member.log_in().headers["Location"] == PROFILE
    copied = dict(member.cookies)
    assert member.get("/accounts/logout/").headers["Location"] == "/"
    member.cookies = copied
    assert "login" in member.get(PROFILE).headers["Location"]


@pytest.mark.parametrize(
    ("username", "password"),
    [
        pytest.param("ann@example.org", "wrong password", id="wrong password"),
        pytest.param("nobody", PASSWORD, id="unknown user"),
        pytest.param("ann@example.org", "x" * 5000, id="endless password"),
    ],
)
def test_login_fails(application, member, new_browser, username, password):
    """The response to a wrong login is the form, for any reason."""
    browser = new_browser(application)
    response = browser.log_in(username, password)
    assert response.status_int == 200
    assert "is wrong" in response.text
    assert "sessionid" not in browser.cookies


@pytest.mark.parametrize(
    ("target", "location"),
    [
        pytest.param("/accounts/upload_photo/", "/accounts/upload_photo/", id="a page"),
        pytest.param("//evil.example", PROFILE, id="another host"),
        pytest.param("https://evil.example/", PROFILE, id="a URL"),
        pytest.param("/\\evil.example", PROFILE, id="backslash"),
        pytest.param("/\t/evil.example", PROFILE, id="tab"),
        pytest.param("javascript:alert(1)", PROFILE, id="script"),
    ],
)
def test_next(member, target, location):
    """After the login one gets to the page one wanted, if it is one of ours."""
    assert member.log_in(next_page=target).headers["Location"] == location


def test_cookies(browser):
    """Session cookies are for HTTP and this site only, and for TLS where there is TLS."""
    fields = {"username": "bob", "password1": PASSWORD, "password2": PASSWORD}
    response = browser.post("/accounts/new/", fields, base_url="https://localhost")
    cookies = response.headers.getall("Set-Cookie")
    assert all("HttpOnly" in each and "SameSite=Lax" in each for each in cookies)
    assert all("secure" in each for each in cookies)


@pytest.mark.parametrize("cookie", ["x", "x.y", "", "\xe9.\xe9", "a" * 5000])
def test_forged_session(browser, cookie):
    """A session cookie that the demo did not sign is ignored."""
    browser.cookies["sessionid"] = cookie
    assert browser.get(PROFILE).status_int == 302


def test_csrf(member, application, new_browser):
    """A form without its token, with a forged or with another user's one is refused."""
    fields = {"email": "x@example.org"}
    assert member.send("/accounts/add_email/", "POST", POST=fields).status_int == 403
    for token in ("x", member.cookies["csrftoken"] + "x", new_browser(application).token()):
        form = {**fields, "csrfmiddlewaretoken": token}
        assert member.send("/accounts/add_email/", "POST", POST=form).status_int == 403
    stranger = new_browser(application)
    stranger.token()
    planted = {**fields, "csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
    member.cookies["csrftoken"] = stranger.cookies["csrftoken"]
    assert member.send("/accounts/add_email/", "POST", POST=planted).status_int == 403


def test_csrf_header(member):
    """The token may come in a header."""
    token = member.cookies["csrftoken"]
    options = {"POST": {"email": "x@example.org"}, "headers": {"X-CSRFToken": token}}
    assert member.send("/accounts/add_email/", "POST", **options).status_int == 302


def test_password_change(member):
    """A password is changed with the old one, and other sessions end."""
    other = dict(member.cookies)
    fields = {"old_password": "wrong", "password1": "new password", "password2": "new password"}
    assert "is wrong" in member.post("/accounts/password_change/", fields).text
    fields["old_password"] = PASSWORD
    assert member.post("/accounts/password_change/", fields).headers["Location"] == PROFILE
    assert member.get(PROFILE).status_int == 200
    member.cookies = other
    assert member.get(PROFILE).status_int == 302


def test_password_reset(member, caplog):
    """The link to a new password is in the log, not on the page, and works once."""
    member.post("/accounts/logout/")
    response = member.post("/accounts/password_reset/", {"email": "Ann@example.org"})
    assert response.headers["Location"] == "/accounts/password_reset/done/"
    link = re.search(r"/accounts/reset/\S+", caplog.text).group()
    assert link not in response.text + member.get("/accounts/password_reset/done/").text
    fields = {"password1": "new password", "password2": "new password"}
    assert member.get(link).status_int == 200
    assert member.post(link, {**fields, "password2": "x"}).status_int == 200
    assert member.post(link, fields).headers["Location"] == "/accounts/login/"
    assert member.get(link).status_int == 404
    assert member.log_in(password="new password").status_int == 302


def test_password_reset_expires(member, caplog, monkeypatch):
    """A day later the link is worth nothing."""
    member.post("/accounts/password_reset/", {"email": "ann@example.org"})
    link = re.search(r"/accounts/reset/\S+", caplog.text).group()
    monkeypatch.setattr("avatar_demo.accounts.RESET_SECONDS", -1)
    assert member.get(link).status_int == 404


@pytest.mark.parametrize("link", ["/accounts/reset/1/1-x/", "/accounts/reset/99999999999/1-x/"])
def test_forged_reset(member, link):
    """A link that we did not make is not found."""
    assert member.get(link).status_int == 404


def test_reset_for_strangers(browser, caplog):
    """The response does not show whether an address is known."""
    response = browser.post("/accounts/password_reset/", {"email": "who@example.org"})
    assert response.headers["Location"] == "/accounts/password_reset/done/"
    assert caplog.text == ""
