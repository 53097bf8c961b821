"""Accounts: registration, login, logout and passwords."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from avatar_telemetry.demo.forms import Field, Form
from avatar_telemetry.demo.http import HttpError, local_path
from avatar_telemetry.demo.models import Email, User, normal_email
from avatar_telemetry.demo.pages import fill
from avatar_telemetry.demo.signing import hash_password
from avatar_telemetry.demo.visit import Visit

LOGGER = logging.getLogger("avatar_telemetry.demo")
PROFILE = "/accounts/profile/"
MIN_PASSWORD, MAX_PASSWORD = 8, 1024
MAX_USERNAME = 150

NEW_PASSWORD = (
    Field("password1", "Password", "password", "new-password"),
    Field("password2", "Password again", "password", "new-password"),
)
REGISTRATION = Form(
    "Create an account",
    "Sign up",
    (Field("username", "Username or e-mail address", hint="username"), *NEW_PASSWORD),
    "A username that is an e-mail address becomes the first address of the account. "
    "This demo sends no mail: addresses count as confirmed at once.",
)
LOGIN = Form(
    "Log in",
    "Log in",
    (
        Field("username", "Username", hint="username"),
        Field("password", "Password", "password", "current-password"),
    ),
)
RESET = Form(
    "Reset the password",
    "Send the link",
    (Field("email", "E-mail address", "email", "email"),),
    "This demo sends no mail: the link is written to the server's log.",
)
NEW_ONE = Form("Choose a new password", "Set the password", NEW_PASSWORD)
CHANGE = Form(
    "Change the password",
    "Change the password",
    (Field("old_password", "Old password", "password", "current-password"), *NEW_PASSWORD),
    "This ends all other sessions.",
)


def new_account(visit: Visit) -> Any:
    """``/accounts/new/``"""
    if visit.user:
        return visit.redirect(PROFILE)
    if visit.request.method != "POST":
        return REGISTRATION.page(visit)
    username = visit.field("username").strip()
    errors = [*_username_errors(username), *_password_errors(visit)]
    user = None if errors else _create_user(visit, username)
    if user is None:
        errors = errors or ["This username is taken."]
        return REGISTRATION.page(visit, errors, values={"username": username})
    visit.log_in(user)
    visit.tell("Welcome! Now upload a photo.")
    return visit.redirect(PROFILE)


def login(visit: Visit) -> Any:
    """``/accounts/login/``"""
    if visit.request.method != "POST":
        return LOGIN.page(visit, extra=fill("login_links", root=visit.root))
    username, password = visit.field("username").strip(), visit.field("password")
    user = None
    if len(password) <= MAX_PASSWORD:
        user = visit.site.sessions.authenticate(username, password)
    if user is None:
        errors = ["Username and password do not fit together."]
        return LOGIN.page(visit, errors, fill("login_links", root=visit.root),
                          {"username": username})  # fmt: skip
    visit.log_in(user)
    return visit.redirect(local_path(visit.query.get("next", "")) or PROFILE)


def logout(visit: Visit) -> Any:
    """``/accounts/logout/``"""
    visit.log_out()
    return visit.redirect("/")


def password_change(visit: Visit) -> Any:
    """``/accounts/password_change/``"""
    if visit.request.method != "POST":
        return CHANGE.page(visit)
    user, errors = visit.member, _password_errors(visit)
    old = visit.field("old_password")
    if len(old) > MAX_PASSWORD or not visit.site.sessions.authenticate(user.username, old):
        errors = ["The old password is wrong.", *errors]
    if errors:
        return CHANGE.page(visit, errors)
    visit.site.sessions.set_password(user, visit.field("password1"))
    visit.log_in(user)
    visit.tell("The password was changed.")
    return visit.redirect(PROFILE)


def password_reset(visit: Visit) -> Any:
    """``/accounts/password_reset/``; the answer does not tell whether we know the address."""
    if visit.request.method != "POST":
        return RESET.page(visit)
    address = normal_email(visit.field("email"))
    with visit.site.database() as db:
        owner = select(User).join(Email, Email.user_id == User.id).where(Email.email == address)
        user = db.scalar(owner)
    if user is not None:
        path = f"{visit.root}/accounts/reset/{user.id}/{visit.site.sessions.reset_token(user)}/"
        # Stands for the mail, which is why a secret may be in it.
        LOGGER.warning("mail to user %s: set a new password at %s", user.id, path)
    return visit.redirect("/accounts/password_reset/done/")


def password_reset_done(visit: Visit) -> Any:
    """``/accounts/password_reset/done/``"""
    return visit.page("reset_done", "Password reset")


def password_reset_confirm(visit: Visit, uid: str, token: str) -> Any:
    """``/accounts/reset/<uid>/<token>/``"""
    with visit.site.database() as db:
        user = db.get(User, int(uid)) if len(uid) < 10 else None
    if user is None or not visit.site.sessions.owns_reset_token(user, token):
        raise HttpError(404, "This link is not valid, or not valid any more.")
    if visit.request.method != "POST":
        return NEW_ONE.page(visit)
    if errors := _password_errors(visit):
        return NEW_ONE.page(visit, errors)
    visit.site.sessions.set_password(user, visit.field("password1"))
    visit.tell("The password was changed. Please log in.")
    return visit.redirect("/accounts/login/")


def log_in_first(visit: Visit) -> Any:
    """Send somebody unknown to the login page, and then back."""
    return visit.redirect(f"/accounts/login/?next={quote(visit.root + visit.path)}")


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


def _username_errors(username: str) -> list[str]:
    if not username or len(username) > MAX_USERNAME or not username.isprintable():
        return [f"A username has 1 to {MAX_USERNAME} characters."]
    return []


def _password_errors(visit: Visit) -> list[str]:
    one, two = visit.field("password1"), visit.field("password2")
    errors = [] if one == two else ["The two passwords differ."]
    if not MIN_PASSWORD <= len(one) <= MAX_PASSWORD:
        errors.append(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    return errors
