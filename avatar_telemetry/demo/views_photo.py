"""A user's photos: upload, crop, import, delete."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, undefer
from webob import Response

from avatar_telemetry.demo.forms import Field, Form
from avatar_telemetry.demo.gravatar import NoPictureError, fetch, gravatar_url
from avatar_telemetry.demo.http import HttpError
from avatar_telemetry.demo.models import Email, OpenId, Photo, md5_digest, normal_email
from avatar_telemetry.demo.photos import (
    AVATAR_SIDE,
    Box,
    PhotoError,
    StoredPhoto,
    crop_photo,
    photo_size,
    take_photo,
)
from avatar_telemetry.demo.views_account import LOGGER, PROFILE, log_in_first
from avatar_telemetry.demo.visit import Visit

UPLOAD = Form(
    "Upload a photo",
    "Upload",
    (
        Field("photo", "Photo (PNG, JPEG, GIF or WebP)", "file"),
        Field("not_porn", "suitable for all ages", "checkbox"),
        Field("can_distribute", "can be freely copied", "checkbox"),
    ),
)
DELETE = Form("Delete this photo?", "Delete it")


def upload_photo(visit: Visit) -> Any:
    """``/accounts/upload_photo/``: to the crop page, or back to where one can see why not."""
    if visit.request.method != "POST":
        return UPLOAD.page(visit)
    upload = visit.form.get("photo")
    if not hasattr(upload, "file"):
        return UPLOAD.page(visit, ["You must choose an image to upload."])
    if not (visit.field("not_porn") and visit.field("can_distribute")):
        return UPLOAD.page(visit, ["Both boxes must be checked."])
    data = upload.file.read(visit.site.settings.max_upload + 1)
    if not data:
        return UPLOAD.page(visit, ["The file is empty."])
    return _store_and_crop(visit, data)


def upload_too_large(visit: Visit) -> Any:
    """The answer to a body that was not even looked at."""
    if visit.user is None:
        return log_in_first(visit)
    return _back(visit, "Image too big.")


def crop(visit: Visit, number: str) -> Any:
    """``/accounts/crop_photo/<id>``"""
    with visit.site.database.begin() as db:
        photo = _own_photo(visit, db, number)
        if visit.request.method != "POST":
            width, height = photo_size(photo.data)
            side = min(width, height)
            return visit.page("crop", "Crop the photo", id=photo.id, width=width, height=height,
                              x=(width - side) // 2, y=(height - side) // 2, side=side)  # fmt: skip
        box = Box(*(visit.number(name) for name in ("x", "y", "w", "h")))
        try:
            photo.data = crop_photo(photo.data, box)
        except PhotoError as error:
            return _back(visit, str(error))
        _assign_first_photo(db, visit.member.id, photo.id)
    return _back(visit, "The photo is ready. Avatars that were shown before follow in minutes.")


def raw_image(visit: Visit, number: str) -> Any:
    """``/accounts/raw_image/<id>``"""
    with visit.site.database() as db:
        photo = _own_photo(visit, db, number)
    response = Response(body=photo.data, content_type=f"image/{photo.format}")
    response.headers["Cache-Control"] = "private, no-store"
    return response


def delete_photo(visit: Visit, number: str) -> Any:
    """``/accounts/delete_photo/<id>``"""
    with visit.site.database.begin() as db:
        photo = _own_photo(visit, db, number)
        if visit.request.method != "POST":
            return DELETE.page(visit)
        for table in (Email, OpenId):
            db.execute(update(table).where(table.photo_id == photo.id).values(photo_id=None))
        db.execute(delete(Photo).where(Photo.id == photo.id))
    return _back(visit, "The photo was deleted.")


def import_photo(visit: Visit, address: str) -> Any:
    """``/accounts/import_photo/<address>``: takes over the picture that Gravatar has."""
    email = normal_email(address)
    with visit.site.database() as db:
        mine = select(Email).where(Email.email == email, Email.user_id == visit.member.id)
        if db.scalar(mine) is None:
            return _back(visit, "This is not an address of yours.")
    if visit.request.method != "POST":
        return Form(f"Import the photo of {email} from Gravatar?", "Import it").page(visit)
    try:
        data = fetch(visit.site, gravatar_url(visit.site, md5_digest(email), s=AVATAR_SIDE, d=404))
    except NoPictureError:
        return _back(visit, "Gravatar has no photo of this address.")
    except OSError:
        LOGGER.warning("importing from Gravatar failed", exc_info=True)
        return _back(visit, "Gravatar does not answer.")
    return _store_and_crop(visit, data)


def _store_and_crop(visit: Visit, data: bytes) -> Any:
    settings = visit.site.settings
    if len(data) > settings.max_upload:
        return _back(visit, "Image too big.")
    try:
        stored = take_photo(data, settings.max_pixels)
    except PhotoError as error:
        return _back(visit, str(error))
    number = _add_photo(visit, stored)
    if number is None:
        return _back(visit, "You have too many photos already.")
    return visit.redirect(f"/accounts/crop_photo/{number}")


def _add_photo(visit: Visit, stored: StoredPhoto) -> int | None:
    user_id = visit.member.id
    with visit.site.database.begin() as db:
        mine = select(func.count()).select_from(Photo).where(Photo.user_id == user_id)
        if (db.scalar(mine) or 0) >= visit.site.settings.max_photos:
            return None
        photo = Photo(user_id=user_id, data=stored.data, format=stored.format)
        db.add(photo)
        db.flush()
        return photo.id


def _assign_first_photo(db: Session, user_id: int, photo_id: int) -> None:
    if db.scalar(select(func.count()).select_from(Photo).where(Photo.user_id == user_id)) != 1:
        return
    for table in (Email, OpenId):
        db.execute(update(table).where(table.user_id == user_id).values(photo_id=photo_id))


def _own_photo(visit: Visit, db: Session, number: str) -> Photo:
    wanted = int(number) if len(number) < 10 else 0
    photo = db.get(Photo, wanted, options=[undefer(Photo.data)])
    if photo is None or photo.user_id != visit.member.id:
        raise HttpError(404, "You have no such photo.")
    return photo


def _back(visit: Visit, message: str) -> Any:
    visit.tell(message)
    return visit.redirect(PROFILE)
