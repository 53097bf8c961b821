"""A user's profile: addresses, and which photo belongs to each."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from avatar_telemetry.demo.forms import Field, Form
from avatar_telemetry.demo.http import HttpError
from avatar_telemetry.demo.models import (
    MAX_ADDRESS,
    Email,
    OpenId,
    Photo,
    normal_email,
    normal_openid,
)
from avatar_telemetry.demo.pages import Markup, fill, join
from avatar_telemetry.demo.views_account import PROFILE
from avatar_telemetry.demo.visit import Visit

MAX_ADDRESSES = 20
ADD_EMAIL = Form(
    "Add an e-mail address",
    "Add",
    (Field("email", "E-mail address", "email", "email"),),
    "This demo sends no mail: the address counts as confirmed at once.",
)
ADD_OPENID = Form(
    "Add an OpenID",
    "Add",
    (Field("openid", "OpenID", "url", "url"),),
    "This demo asks no OpenID provider: the address counts as confirmed at once.",
)
BLUESKY = Form("Set the Bluesky handle", "Set", (Field("bluesky_handle", "Handle"),))


def profile(visit: Visit, username: str = "") -> Any:
    """``/accounts/profile/`` and ``/accounts/profile/<user>``: one's own, and no other."""
    user = visit.member
    if username not in ("", user.username):
        raise HttpError(404, "There is no such profile for you.")
    with visit.site.database() as db:
        photos = db.scalars(select(Photo).where(Photo.user_id == user.id).order_by(Photo.id)).all()
        emails = db.scalars(select(Email).where(Email.user_id == user.id).order_by(Email.id)).all()
        openids = db.scalars(
            select(OpenId).where(OpenId.user_id == user.id).order_by(OpenId.id)
        ).all()
    rows = [_address_row(visit, each) for each in emails]
    rows += [_address_row(visit, each) for each in openids]
    return visit.page(
        "profile",
        "Your profile",
        user=user.username,
        photos=join(fill("photo", root=visit.root, id=each.id, count=each.access_count)
                    for each in photos) or fill("nothing", text="No photo yet."),
        addresses=join(rows) or fill("nothing", text="No address yet."),
    )  # fmt: skip


def add_email(visit: Visit) -> Any:
    """``/accounts/add_email/``"""
    if visit.request.method != "POST":
        return ADD_EMAIL.page(visit)
    address = normal_email(visit.field("email"))
    if not address or len(address) > MAX_ADDRESS:
        return ADD_EMAIL.page(visit, ["This is not an e-mail address."])
    if not _add(visit, Email.of(visit.member.id, address)):
        return ADD_EMAIL.page(visit, ["The address was added already, or you have too many."])
    visit.tell("The address was added.")
    return visit.redirect(PROFILE)


def add_openid(visit: Visit) -> Any:
    """``/accounts/add_openid/``"""
    if visit.request.method != "POST":
        return ADD_OPENID.page(visit)
    address = normal_openid(visit.field("openid"))
    if not address or len(address) > MAX_ADDRESS:
        return ADD_OPENID.page(visit, ["This is not an OpenID."])
    if not _add(visit, OpenId.of(visit.member.id, address)):
        return ADD_OPENID.page(visit, ["The OpenID was added already, or you have too many."])
    visit.tell("The OpenID was added.")
    return visit.redirect(PROFILE)


def remove_email(visit: Visit, number: str) -> Any:
    """``/accounts/remove_confirmed_email/<id>``"""
    return _remove(visit, Email, number)


def remove_openid(visit: Visit, number: str) -> Any:
    """``/accounts/remove_confirmed_openid/<id>``"""
    return _remove(visit, OpenId, number)


def assign_photo_email(visit: Visit, number: str) -> Any:
    """``/accounts/assign_photo_email/<id>``"""
    return _assign(visit, Email, number)


def assign_photo_openid(visit: Visit, number: str) -> Any:
    """``/accounts/assign_photo_openid/<id>``"""
    return _assign(visit, OpenId, number)


def assign_bluesky_handle(visit: Visit, number: str) -> Any:
    """``/accounts/assign_bluesky_handle_to_email/<id>``"""
    with visit.site.database.begin() as db:
        email = _own(visit, db, Email, number)
        if visit.request.method != "POST":
            return BLUESKY.page(visit, values={"bluesky_handle": email.bluesky_handle})
        handle = visit.field("bluesky_handle").strip().lstrip("@").lower()
        if len(handle) > 253 or not set(handle) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-"):
            return BLUESKY.page(visit, ["This is not a Bluesky handle."])
        email.bluesky_handle = handle
    visit.tell("The handle was set.")
    return visit.redirect(PROFILE)


def _add(visit: Visit, row: Email | OpenId) -> bool:
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


def _remove(visit: Visit, table: type[Email] | type[OpenId], number: str) -> Any:
    with visit.site.database.begin() as db:
        row = _own(visit, db, table, number)
        db.execute(delete(table).where(table.id == row.id))
    visit.tell("The address was removed.")
    return visit.redirect(PROFILE)


def _assign(visit: Visit, table: type[Email] | type[OpenId], number: str) -> Any:
    with visit.site.database.begin() as db:
        row = _own(visit, db, table, number)
        photos = db.scalars(select(Photo.id).where(Photo.user_id == visit.member.id)).all()
        if visit.request.method != "POST":
            return _choose_page(visit, row, list(photos))
        if "photoNone" in visit.form:
            row.photo_id = None
        elif visit.number("photo_id") in photos:
            row.photo_id = visit.number("photo_id")
        else:
            visit.tell("There is no such photo.")
            return visit.redirect(PROFILE)
    visit.tell("The photo was changed.")
    return visit.redirect(PROFILE)


def _own(visit: Visit, db: Session, table: Any, number: str) -> Any:
    row = db.get(table, int(number)) if len(number) < 10 else None
    if row is None or row.user_id != visit.member.id:
        raise HttpError(404, "You have no such address.")
    return row


def _choose_page(visit: Visit, row: Email | OpenId, photos: list[int]) -> Any:
    choices = [
        fill("choice", root=visit.root, id=each, checked="checked" if each == row.photo_id else "")
        for each in photos
    ]
    return visit.page(
        "assign_photo",
        "Choose a photo",
        address=_address(row),
        choices=join(choices) or fill("nothing", text="No photo yet."),
    )


def _address_row(visit: Visit, row: Email | OpenId) -> Markup:
    is_email = isinstance(row, Email)
    return fill(
        "address" if is_email else "address_openid",
        root=visit.root,
        csrf=visit.csrf_field(),
        id=row.id,
        address=_address(row),
        quoted=quote(_address(row), safe=""),
        digest=row.digest,
        count=row.access_count,
    )


def _address(row: Email | OpenId) -> str:
    return row.email if isinstance(row, Email) else row.openid
