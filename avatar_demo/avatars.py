"""The avatar: cached, generated, uploaded, or of another service."""

from __future__ import annotations

from functools import cached_property
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import or_, select, update
from sqlalchemy.orm import joinedload
from webob import Response, exc

from avatar_demo.generators import GENERATORS
from avatar_demo.images import render_photo
from avatar_demo.models import Address, Email, OpenId, Photo
from avatar_demo.outside import NoPictureError, fetch_bluesky, fetch_gravatar, gravatar_url
from avatar_demo.pages import parse_size, sized_image
from avatar_demo.site import Site
from avatar_demo.visit import Visit, web_url

MAX_AGE = 300
CACHE_SECONDS = 900
DEFAULTS = frozenset({"404", "mm", "mp", *GENERATORS})


class Query:
    """The query string of an avatar request; values that are not allowed are ignored.

    Args:
        query: the names and values.
    """

    def __init__(self, query: dict[str, str]) -> None:
        self._query = query
        self.forced = "y" in (query.get("f"), query.get("forcedefault"))
        self.proxied = query.get("gravatarproxy") != "n" and not self.forced
        self.redirected = query.get("gravatarredirect") == "y" and not self.forced

    @cached_property
    def size(self) -> int:
        """The size in pixels; ``size`` takes precedence over ``s``."""
        return parse_size(self._query.get("size", self._query.get("s", "")))

    def default(self, *names: str) -> str:
        """Return the default picture by the first of the names: a style, a URL, or empty."""
        text = next((self._query[name] for name in names if name in self._query), "")
        return text if text in DEFAULTS else web_url(text)


def avatar(visit: Visit, digest: str = "") -> Any:
    """``/avatar/<digest>``"""
    uri = _absolute_uri(visit.request.environ)
    entry = visit.site.cache.get(uri)
    if entry is not None:
        cached_type, _, image = entry.partition(b"\n")
        return _image(image, cached_type.decode())
    if not digest:
        return visit.redirect("/")
    query, owner = Query(visit.query), _find_owner(visit.site, digest)
    default = query.default("default", "d")
    if owner is not None and owner.photo is not None and not query.forced:
        data, subtype = render_photo(owner.photo.data, query.size), owner.photo.format
        _count_access(visit.site, owner, owner.photo)
    elif default in GENERATORS and not query.redirected:
        data, subtype = _draw(default, digest, query.size), "png"
    else:
        return _redirect(visit, digest, query, default, owner)
    visit.site.cache.set(uri, subtype.encode() + b"\n" + data, CACHE_SECONDS)
    return _image(data, subtype)


def invalid_digest(visit: Visit) -> Any:
    """``/avatar/<anything else>``"""
    return visit.redirect("/static/img/deadbeef.png")


def gravatar_proxy(visit: Visit, digest: str) -> Any:
    """``/gravatarproxy/<digest>``; a network error is not caught, as in ivatar."""
    query = Query(visit.query)
    try:
        return _image(*fetch_gravatar(visit.site, digest, query.size, query.default("default")))
    except NoPictureError:
        return _back_to_default(visit, digest, query)


def bluesky_proxy(visit: Visit, digest: str) -> Any:
    """``/blueskyproxy/<digest>``; a network error is not caught, as in ivatar."""
    owner = _find_owner(visit.site, digest)
    try:
        if not isinstance(owner, Email) or not owner.bluesky_handle:
            raise NoPictureError
        return _image(*fetch_bluesky(visit.site, owner.bluesky_handle))
    except NoPictureError:
        return _back_to_default(visit, digest, Query(visit.query))


def _absolute_uri(environ: dict[str, Any]) -> str:
    """Return the requested URL, different for different requests."""
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    raw = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    return f"{environ['wsgi.url_scheme']}://{host}{quote(raw)}?{environ.get('QUERY_STRING', '')}"


def _find_owner(site: Site, digest: str) -> Address | None:
    with site.database() as db:
        for table in (Email, OpenId):
            owns = or_(*(getattr(table, name) == digest for name in table.DIGESTS))
            photo = joinedload(table.photo).undefer(Photo.data)
            query = select(table).where(owns).order_by(table.id).options(photo)
            row: Address | None = db.scalars(query).first()
            if row is not None:
                return row
    return None


def _draw(style: str, digest: str, size: int) -> bytes:
    file = BytesIO()
    GENERATORS[style].draw(digest, size).save(file, "PNG")
    return file.getvalue()


def _redirect(visit: Visit, digest: str, query: Query, default: str, owner: Address | None) -> Any:
    if query.redirected:
        return visit.redirect_away(gravatar_url(visit.site, digest, s=query.size))
    if default == "404":
        raise exc.HTTPNotFound("Image not found")
    if default in ("mm", "mp"):
        return visit.redirect(sized_image("mm", query.size))
    if default:
        return visit.redirect_away(default)
    proxy = ""
    if query.proxied:
        has_handle = isinstance(owner, Email) and owner.bluesky_handle
        proxy = "gravatarproxy" if visit.site.settings.gravatar else ""
        proxy = "blueskyproxy" if has_handle else proxy
    if proxy:
        return visit.redirect(f"/{proxy}/{quote(digest)}?s={query.size}")
    return visit.redirect(sized_image("nobody", query.size))


def _back_to_default(visit: Visit, digest: str, query: Query) -> Any:
    values = {"s": str(query.size), "forcedefault": "y"}
    if default := query.default("default"):
        values["default"] = default
    return visit.redirect(f"/avatar/{quote(digest)}?{urlencode(values)}")


def _count_access(site: Site, *rows: Address | Photo) -> None:
    # Incremented by the database, because other workers count, too.
    with site.database.begin() as db:
        for row in rows:
            table = type(row)
            db.execute(
                update(table)
                .where(table.id == row.id)
                .values(access_count=table.access_count + 1)
                .execution_options(synchronize_session=False)
            )


def _image(data: bytes, subtype: str) -> Any:
    response = Response(body=data, content_type=f"image/{subtype}")
    response.headers["Cache-Control"] = f"max-age={MAX_AGE}"
    return response
