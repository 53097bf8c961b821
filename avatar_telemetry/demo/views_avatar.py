"""The avatar: cached, drawn, uploaded, or somewhere else."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import or_, select, update
from sqlalchemy.orm import joinedload
from webob import Response

from avatar_telemetry.demo.generators import GENERATORS
from avatar_telemetry.demo.gravatar import (
    NoPictureError,
    fetch_bluesky,
    fetch_gravatar,
    gravatar_url,
)
from avatar_telemetry.demo.http import HttpError, absolute_uri, web_url
from avatar_telemetry.demo.models import Email, OpenId, Photo
from avatar_telemetry.demo.photos import render_photo
from avatar_telemetry.demo.site import Site
from avatar_telemetry.demo.static import sized_image
from avatar_telemetry.demo.visit import Visit

MAX_AGE = 300
CACHE_SECONDS = 900
DEFAULT_SIZE = 80
MAX_SIZE = 512
WORDS = frozenset({"404", "mm", "mp", *GENERATORS})


@dataclass(frozen=True)
class Wish:
    """What the query string of an avatar request asks for.

    Args:
        digest: of the address.
        size: pixels.
        default: one of the words, a URL, or empty.
        forced: ignore an uploaded photo.
        proxied: Gravatar may be asked.
        leaves: send the browser to Gravatar instead.
    """

    digest: str
    size: int
    default: str
    forced: bool
    proxied: bool
    leaves: bool

    @classmethod
    def of(cls, digest: str, query: dict[str, str]) -> Wish:
        """The wish of a query; values that mean nothing are as good as absent."""
        default = query.get("default", query.get("d", ""))
        forced = "y" in (query.get("f"), query.get("forcedefault"))
        return cls(
            digest=digest,
            size=parse_size(query),
            default=default if default in WORDS else web_url(default),
            forced=forced,
            proxied=query.get("gravatarproxy") != "n",
            leaves=query.get("gravatarredirect") == "y" and not forced,
        )


def parse_size(query: dict[str, str]) -> int:
    """Pixels of an avatar: ``size`` wins over ``s``, nonsense is 80, 512 is the most."""
    try:
        size = int(query.get("size", query.get("s", "")))
    except ValueError:
        return DEFAULT_SIZE
    return min(size, MAX_SIZE) if size > 0 else DEFAULT_SIZE


def avatar(visit: Visit, digest: str = "") -> Any:
    """``/avatar/<digest>``"""
    uri = absolute_uri(visit.request.environ)
    entry = visit.site.cache.get(uri)
    if entry is not None:
        return _unpack(entry)
    if not digest:
        return visit.redirect("/")
    wish = Wish.of(digest, visit.query)
    owner = _find_owner(visit.site, digest)
    if owner is None or owner.photo is None or wish.forced:
        if wish.leaves or wish.default not in GENERATORS:
            return _send_away(visit, wish, owner)
        return _keep(visit.site, uri, _draw(wish), "png")
    image = render_photo(owner.photo.data, wish.size)
    _count_access(visit.site, owner, owner.photo)
    return _keep(visit.site, uri, image, owner.photo.format)


def invalid_digest(visit: Visit) -> Any:
    """``/avatar/<anything else>``"""
    return visit.redirect("/static/img/deadbeef.png")


def gravatar_proxy(visit: Visit, digest: str) -> Any:
    """``/gravatarproxy/<digest>``; a network error is not caught, as in ivatar."""
    size, default = parse_size(visit.query), _proxy_default(visit)
    try:
        data, subtype = fetch_gravatar(visit.site, digest, size, default)
    except NoPictureError:
        return _back_to_default(visit, digest)
    return _image(data, subtype)


def bluesky_proxy(visit: Visit, digest: str) -> Any:
    """``/blueskyproxy/<digest>``; a network error is not caught, as in ivatar."""
    owner = _find_owner(visit.site, digest)
    handle = owner.bluesky_handle if isinstance(owner, Email) else ""
    if not handle:
        return _back_to_default(visit, digest)
    try:
        data, subtype = fetch_bluesky(visit.site, handle)
    except NoPictureError:
        return _back_to_default(visit, digest)
    return _image(data, subtype)


def _find_owner(site: Site, digest: str) -> Email | OpenId | None:
    with site.database() as db:
        for column in (Email.digest, Email.digest_sha256):
            photo = joinedload(Email.photo).undefer(Photo.data)
            email = db.scalar(select(Email).where(column == digest).options(photo))
            if email is not None:
                return email
        spellings = (OpenId.digest, OpenId.alt_digest1, OpenId.alt_digest2, OpenId.alt_digest3)
        photo = joinedload(OpenId.photo).undefer(Photo.data)
        question = select(OpenId).where(or_(*(each == digest for each in spellings)))
        return db.scalars(question.order_by(OpenId.id).options(photo)).first()


def _draw(wish: Wish) -> bytes:
    file = BytesIO()
    GENERATORS[wish.default].draw(wish.digest, wish.size).save(file, "PNG")
    return file.getvalue()


def _send_away(visit: Visit, wish: Wish, owner: Email | OpenId | None) -> Any:
    if wish.leaves:
        return visit.redirect_away(gravatar_url(visit.site, wish.digest, s=wish.size))
    if wish.default == "404":
        raise HttpError(404, "Image not found")
    if wish.default in ("mm", "mp"):
        return visit.redirect(sized_image("mm", wish.size))
    if wish.default:
        return visit.redirect_away(wish.default)
    proxy = "" if wish.forced or not wish.proxied else _proxy(visit.site, owner)
    if proxy:
        return visit.redirect(f"/{proxy}/{quote(wish.digest)}?s={wish.size}")
    return visit.redirect(sized_image("nobody", wish.size))


def _proxy(site: Site, owner: Email | OpenId | None) -> str:
    if isinstance(owner, Email) and owner.bluesky_handle:
        return "blueskyproxy"
    return "gravatarproxy" if site.settings.gravatar else ""


def _proxy_default(visit: Visit) -> str:
    default = visit.query.get("default", "")
    return default if default in WORDS else web_url(default)


def _back_to_default(visit: Visit, digest: str) -> Any:
    query = {"s": str(parse_size(visit.query)), "forcedefault": "y"}
    if default := _proxy_default(visit):
        query["default"] = default
    return visit.redirect(f"/avatar/{quote(digest)}?{urlencode(query)}")


def _count_access(site: Site, owner: Email | OpenId, photo: Photo) -> None:
    # Added up by the database: other workers count as well.
    with site.database.begin() as db:
        db.execute(
            update(Photo)
            .where(Photo.id == photo.id)
            .values(access_count=Photo.access_count + 1)
            .execution_options(synchronize_session=False)
        )
        table = type(owner)
        db.execute(
            update(table)
            .where(table.id == owner.id)
            .values(access_count=table.access_count + 1)
            .execution_options(synchronize_session=False)
        )


def _keep(site: Site, uri: str, data: bytes, subtype: str) -> Any:
    site.cache.set(uri, subtype.encode() + b"\n" + data, CACHE_SECONDS)
    return _image(data, subtype)


def _unpack(entry: bytes) -> Any:
    subtype, _, data = entry.partition(b"\n")
    return _image(data, subtype.decode())


def _image(data: bytes, subtype: str) -> Any:
    response = Response(body=data, content_type=f"image/{subtype}")
    response.headers["Cache-Control"] = f"max-age={MAX_AGE}"
    return response
