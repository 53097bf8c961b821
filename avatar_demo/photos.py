"""The photos of a user: upload, crop, import, delete."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, undefer
from webob import Response, exc

from avatar_demo.accounts import LOGGER, PROFILE
from avatar_demo.forms import Field, Form
from avatar_demo.images import AVATAR_SIDE, PhotoError, crop_photo, photo_size, take_photo
from avatar_demo.models import Email, OpenId, Photo, md5_digest, normal_email
from avatar_demo.outside import NoPictureError, fetch, gravatar_url
from avatar_demo.visit import Visit, members

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


@members
def upload_photo(visit: Visit) -> Any:
    """``/accounts/upload_photo/``: redirect to the crop page, or to the profile with the reason."""
    if visit.request.method != "POST":
        return UPLOAD.page(visit)
    upload: Any = visit.form.get("photo")
    if not hasattr(upload, "file"):
        return UPLOAD.page(visit, "You must choose an image to upload.")
    if not (visit.field("not_porn") and visit.field("can_distribute")):
        return UPLOAD.page(visit, "Both boxes must be checked.")
    data = upload.file.read(visit.site.settings.max_upload + 1)
    if not data:
        return UPLOAD.page(visit, "The file is empty.")
    return _store_and_crop(visit, data)


@members
def upload_too_large(visit: Visit) -> Any:
    """Respond to an upload whose body is too large."""
    return visit.redirect(PROFILE, "The image is too large.")


@members
def crop(visit: Visit, number: str) -> Any:
    """``/accounts/crop_photo/<id>``"""
    with visit.site.database.begin() as db:
        photo = _own_photo(visit, db, number)
        if visit.request.method != "POST":
            width, height = photo_size(photo.data)
            return visit.page("crop.html", "Crop the photo", id=photo.id, width=width,
                              height=height, side=min(width, height))  # fmt: skip
        try:
            photo.data = crop_photo(photo.data, *(visit.number(name) for name in "xywh"))
        except PhotoError as error:
            return visit.redirect(PROFILE, str(error))
        _assign_first_photo(db, visit.member.id, photo.id)
    message = "The photo is ready. Cached avatars change within minutes."
    return visit.redirect(PROFILE, message)


@members
def raw_image(visit: Visit, number: str) -> Any:
    """``/accounts/raw_image/<id>``"""
    with visit.site.database() as db:
        photo = _own_photo(visit, db, number)
    response = Response(body=photo.data, content_type=f"image/{photo.format}")
    response.headers["Cache-Control"] = "private, no-store"
    return response


@members
def delete_photo(visit: Visit, number: str) -> Any:
    """``/accounts/delete_photo/<id>``"""
    with visit.site.database.begin() as db:
        photo = _own_photo(visit, db, number)
        if visit.request.method != "POST":
            return DELETE.page(visit)
        for table in (Email, OpenId):
            db.execute(update(table).where(table.photo_id == photo.id).values(photo_id=None))
        db.execute(delete(Photo).where(Photo.id == photo.id))
    return visit.redirect(PROFILE, "The photo was deleted.")


@members
def import_photo(visit: Visit, address: str) -> Any:
    """``/accounts/import_photo/<address>``: store the picture of Gravatar."""
    email = normal_email(address)
    with visit.site.database() as db:
        mine = select(Email).where(Email.address == email, Email.user_id == visit.member.id)
        if db.scalar(mine) is None:
            return visit.redirect(PROFILE, "This is not an address of yours.")
    if visit.request.method != "POST":
        return Form(f"Import the photo of {email} from Gravatar?", "Import it").page(visit)
    try:
        data = fetch(visit.site, gravatar_url(visit.site, md5_digest(email), s=AVATAR_SIDE, d=404))
    except NoPictureError:
        return visit.redirect(PROFILE, "Gravatar has no photo of this address.")
    except OSError:
        LOGGER.warning("the import from Gravatar failed", exc_info=True)
        return visit.redirect(PROFILE, "Gravatar does not respond.")
    return _store_and_crop(visit, data)


def _store_and_crop(visit: Visit, data: bytes) -> Any:
    settings, user_id = visit.site.settings, visit.member.id
    if len(data) > settings.max_upload:
        return visit.redirect(PROFILE, "The image is too large.")
    try:
        stored, name = take_photo(data, settings.max_pixels)
    except PhotoError as error:
        return visit.redirect(PROFILE, str(error))
    with visit.site.database.begin() as db:
        if _count_photos(db, user_id) >= settings.max_photos:
            return visit.redirect(PROFILE, "You have too many photos already.")
        photo = Photo(user_id=user_id, data=stored, format=name)
        db.add(photo)
        db.flush()
        return visit.redirect(f"/accounts/crop_photo/{photo.id}")


def _assign_first_photo(db: Session, user_id: int, photo_id: int) -> None:
    if _count_photos(db, user_id) == 1:
        for table in (Email, OpenId):
            db.execute(update(table).where(table.user_id == user_id).values(photo_id=photo_id))


def _count_photos(db: Session, user_id: int) -> int:
    return db.scalar(select(func.count()).select_from(Photo).where(Photo.user_id == user_id)) or 0


def _own_photo(visit: Visit, db: Session, number: str) -> Photo:
    photo = db.get(Photo, int(number), options=[undefer(Photo.data)])
    if photo is None or photo.user_id != visit.member.id:
        raise exc.HTTPNotFound("You have no such photo.")
    return photo
