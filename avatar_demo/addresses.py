"""The profile of a user: addresses, and the photo of each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from webob import exc

from avatar_demo.accounts import EMAIL, PROFILE
from avatar_demo.forms import Field, Form
from avatar_demo.models import (
    MAX_ADDRESS,
    Address,
    Email,
    OpenId,
    Photo,
    normal_email,
    normal_openid,
)
from avatar_demo.visit import Visit, members

MAX_ADDRESSES = 20
HANDLE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
KINDS: dict[str, type[Email] | type[OpenId]] = {"email": Email, "openid": OpenId}
FORMS = {
    "email": Form(
        "Add an e-mail address", "Add", (EMAIL,),
        "This demo sends no mail: the address counts as confirmed at once.",
    ),
    "openid": Form(
        "Add an OpenID", "Add", (Field("openid", "OpenID", "url", "url"),),
        "This demo asks no OpenID provider: the address counts as confirmed at once.",
    ),
}  # fmt: skip
BLUESKY = Form("Set the Bluesky handle", "Set", (Field("bluesky_handle", "Handle"),))


@members
def profile(visit: Visit, username: str) -> Any:
    """``/accounts/profile/`` and ``/accounts/profile/<user>``: only that of the user."""
    user = visit.member
    if username not in ("", user.username):
        raise exc.HTTPNotFound("You have no such profile.")
    with visit.site.database() as db:
        photos, emails, openids = (
            db.scalars(select(table).where(table.user_id == user.id).order_by(table.id)).all()
            for table in (Photo, Email, OpenId)
        )
    return visit.page(
        "profile.html", "Your profile", photos=photos,
        addresses=[("email", row) for row in emails] + [("openid", row) for row in openids],
    )  # fmt: skip


@members
def add(visit: Visit, kind: str) -> Any:
    """``/accounts/add_email/``, ``/accounts/add_openid/``"""
    form, normal = FORMS[kind], normal_email if kind == "email" else normal_openid
    if visit.request.method != "POST":
        return form.page(visit)
    address = normal(visit.field(kind))
    if not address or len(address) > MAX_ADDRESS:
        return form.page(visit, f"This is not {form.title.removeprefix('Add ')}.")
    if not _add(visit, KINDS[kind].of(visit.member.id, address)):
        return form.page(visit, "The address was added already, or you have too many.")
    return visit.redirect(PROFILE, "The address was added.")


@members
def remove(visit: Visit, kind: str, number: str) -> Any:
    """``/accounts/remove_confirmed_email/<id>``, ``/accounts/remove_confirmed_openid/<id>``"""
    with visit.site.database.begin() as db:
        row = _own(visit, db, KINDS[kind], number)
        db.execute(delete(KINDS[kind]).where(KINDS[kind].id == row.id))
    return visit.redirect(PROFILE, "The address was removed.")


@members
def assign_photo(visit: Visit, kind: str, number: str) -> Any:
    """``/accounts/assign_photo_email/<id>``, ``/accounts/assign_photo_openid/<id>``"""
    with visit.site.database.begin() as db:
        row = _own(visit, db, KINDS[kind], number)
        photos = db.scalars(select(Photo.id).where(Photo.user_id == visit.member.id)).all()
        if visit.request.method != "POST":
            return visit.page("assign_photo.html", "Choose a photo", row=row, photos=photos)
        chosen = None if "photoNone" in visit.form else visit.number("photo_id")
        if chosen not in (None, *photos):
            return visit.redirect(PROFILE, "There is no such photo.")
        row.photo_id = chosen
    return visit.redirect(PROFILE, "The photo was changed.")


@members
def assign_handle(visit: Visit, number: str) -> Any:
    """``/accounts/assign_bluesky_handle_to_email/<id>``"""
    with visit.site.database.begin() as db:
        email = _own(visit, db, Email, number)
        if visit.request.method != "POST":
            return BLUESKY.page(visit, values={"bluesky_handle": email.bluesky_handle})
        handle = visit.field("bluesky_handle").strip().lstrip("@").lower()
        if len(handle) > 253 or not set(handle) <= HANDLE_CHARACTERS:
            return BLUESKY.page(visit, "This is not a Bluesky handle.")
        email.bluesky_handle = handle
    return visit.redirect(PROFILE, "The handle was set.")


def _add(visit: Visit, row: Address) -> bool:
    table = type(row)
    try:
        with visit.site.database.begin() as db:
            mine = select(func.count()).select_from(table).where(table.user_id == row.user_id)
            if (db.scalar(mine) or 0) >= MAX_ADDRESSES:
                return False
            photos = db.scalars(select(Photo.id).where(Photo.user_id == row.user_id)).all()
            row.photo_id = photos[0] if len(photos) == 1 else None
            db.add(row)
    except IntegrityError:
        return False
    return True


def _own(visit: Visit, db: Session, table: type[Address], number: str) -> Any:
    row = db.get(table, int(number))
    if row is None or row.user_id != visit.member.id:
        raise exc.HTTPNotFound("You have no such address.")
    return row
