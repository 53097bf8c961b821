"""Accounts: registration, login, logout and passwords."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from webob import exc

from avatar_demo.forms import Field, Form
from avatar_demo.models import Email, User, normal_email
from avatar_demo.sessions import authenticate, hash_password, set_password
from avatar_demo.visit import Visit, local_path, members

LOGGER = logging.getLogger("avatar_demo")
PROFILE = "/accounts/profile/"
RESET_SECONDS = 24 * 3600
MIN_PASSWORD, MAX_PASSWORD = 8, 1024
MAX_USERNAME = 150

USERNAME = Field("username", "Username", hint="username")
NEW_USERNAME = Field("username", "Username or e-mail address", hint="username")
EMAIL = Field("email", "E-mail address", "email", "email")
PASSWORD = Field("password", "Password", "password", "current-password")
OLD_PASSWORD = Field("old_password", "Old password", "password", "current-password")
NEW_PASSWORD = (
    Field("password1", "Password", "password", "new-password"),
    Field("password2", "Password again", "password", "new-password"),
)
REGISTRATION = Form(
    "Create an account", "Sign up", (NEW_USERNAME, *NEW_PASSWORD),
    "A username that is an e-mail address becomes the first address of the account. "
    "This demo sends no mail: addresses count as confirmed at once.",
)  # fmt: skip
LOGIN = Form("Log in", "Log in", (USERNAME, PASSWORD), template="login.html")
RESET = Form(
    "Reset the password", "Send the link", (EMAIL,),
    "This demo sends no mail: the link is written to the server's log.",
)  # fmt: skip
NEW_PASSWORD_FORM = Form("Choose a new password", "Set the password", NEW_PASSWORD)
CHANGE = Form(
    "Change the password", "Change the password", (OLD_PASSWORD, *NEW_PASSWORD),
    "This ends all other sessions.",
)  # fmt: skip


def new_account(visit: Visit) -> Any:
    """``/accounts/new/``"""
    if visit.user:
        return visit.redirect(PROFILE)
    if visit.request.method != "POST":
        return REGISTRATION.page(visit)
    username, errors = visit.field("username").strip(), _password_errors(visit)
    if not username or len(username) > MAX_USERNAME or not username.isprintable():
        errors.insert(0, f"A username has 1 to {MAX_USERNAME} characters.")
    user = None if errors else _create_user(visit, username)
    if user is None:
        errors = errors or ["This username is taken."]
        return REGISTRATION.page(visit, *errors, values={"username": username})
    visit.log_in(user)
    return visit.redirect(PROFILE, "Welcome! Now upload a photo.")


def login(visit: Visit) -> Any:
    """``/accounts/login/``"""
    if visit.request.method != "POST":
        return LOGIN.page(visit)
    username = visit.field("username").strip()
    user = _authenticate(visit, username, visit.field("password"))
    if user is None:
        error = "The username or the password is wrong."
        return LOGIN.page(visit, error, values={"username": username})
    visit.log_in(user)
    return visit.redirect(local_path(visit.query.get("next", "")) or PROFILE)


def logout(visit: Visit) -> Any:
    """``/accounts/logout/``"""
    visit.log_out()
    return visit.redirect("/")


@members
def password_change(visit: Visit) -> Any:
    """``/accounts/password_change/``"""
    if visit.request.method != "POST":
        return CHANGE.page(visit)
    user, errors = visit.member, _password_errors(visit)
    if not _authenticate(visit, user.username, visit.field("old_password")):
        errors.insert(0, "The old password is wrong.")
    if errors:
        return CHANGE.page(visit, *errors)
    set_password(visit.site, user, visit.field("password1"))
    visit.log_in(user)
    return visit.redirect(PROFILE, "The password was changed.")


def password_reset(visit: Visit) -> Any:
    """``/accounts/password_reset/``; the response does not show whether the address is known."""
    if visit.request.method != "POST":
        return RESET.page(visit)
    address = normal_email(visit.field("email"))
    with visit.site.database() as db:
        owner = select(User).join(Email, Email.user_id == User.id).where(Email.address == address)
        user = db.scalar(owner)
    if user is not None:
        path = f"{visit.root}/accounts/reset/{user.id}/{visit.site.sign(_reset(user), user.id)}/"
        # In place of a mail, so that it may have a secret.
        LOGGER.warning("mail to user %s: set a new password at %s", user.id, path)
    return visit.redirect("/accounts/password_reset/done/")


def password_reset_done(visit: Visit) -> Any:
    """``/accounts/password_reset/done/``"""
    return visit.page("reset_done.html", "Password reset")


def password_reset_confirm(visit: Visit, uid: str, token: str) -> Any:
    """``/accounts/reset/<uid>/<token>/``"""
    with visit.site.database() as db:
        user = db.get(User, int(uid))
    if user is None or visit.site.unsign(_reset(user), token, RESET_SECONDS) != user.id:
        raise exc.HTTPNotFound("This link is not valid, or not valid any more.")
    if visit.request.method != "POST":
        return NEW_PASSWORD_FORM.page(visit)
    if errors := _password_errors(visit):
        return NEW_PASSWORD_FORM.page(visit, *errors)
    set_password(visit.site, user, visit.field("password1"))
    return visit.redirect("/accounts/login/", "The password was changed. Please log in.")


def _reset(user: User) -> str:
    """Return the purpose of a token that is valid until the password changes."""
    return f"reset {user.password}"


def _authenticate(visit: Visit, username: str, password: str) -> User | None:
    return authenticate(visit.site, username, password) if len(password) <= MAX_PASSWORD else None


def _create_user(visit: Visit, username: str) -> User | None:
    user = User(username=username, password=hash_password(visit.field("password1")))
    try:
        with visit.site.database.begin() as db:
            db.add(user)
            db.flush()
            if address := normal_email(username):
                db.add(Email.of(user.id, address))
    except IntegrityError:
        return None
    return user


def _password_errors(visit: Visit) -> list[str]:
    one, two = visit.field("password1"), visit.field("password2")
    errors = [] if one == two else ["The two passwords differ."]
    if not MIN_PASSWORD <= len(one) <= MAX_PASSWORD:
        errors.append(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    return errors
