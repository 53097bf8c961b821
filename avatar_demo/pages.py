"""Public pages: home, check, description, statistics, OpenID login, static files."""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

from sqlalchemy import func, select
from webob import Response, exc

from avatar_demo.forms import Field, Form
from avatar_demo.generators import GENERATORS
from avatar_demo.models import (
    Email,
    OpenId,
    Photo,
    User,
    md5_digest,
    normal_email,
    normal_openid,
    sha256_digest,
)
from avatar_demo.visit import Visit

STATIC = Path(__file__).with_name("static")
FILES = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*.*")}
DASHBOARD = STATIC.parent.parent / "docs" / "pictures" / "ivatar-overview.svg"
if DASHBOARD.is_file():  # in a clone, but not in a container
    FILES["dashboard.svg"] = DASHBOARD
STATIC_SECONDS = 3600
BLOCK = 64 * 1024
DEFAULT_SIZE, MAX_SIZE = 80, 512
STYLES = (*GENERATORS, "mm", "404")
SAMPLES = {style: md5_digest(style) for style in GENERATORS}
DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
OPENID = Form(
    "Log in with OpenID",
    "Log in",
    (Field("openid_identifier", "OpenID", "url", "url"),),
    "This demo has no OpenID provider: a login with this form never succeeds.",
)


def home(visit: Visit) -> Any:
    """``/``: the purpose of the site, and a form that shows an avatar."""
    return _show(visit, "home.html", "Avatars for everybody")


def check(visit: Visit) -> Any:
    """``/tools/check/``: the avatar of an address in all styles."""
    return _show(visit, "check.html", "Check an address")


def description(visit: Visit) -> Any:
    """``/description/``"""
    return visit.page("description.html", "How it works")


def stats(visit: Visit) -> Any:
    """``/stats/``: counts as JSON."""
    counts = {**count_rows(visit), "unconfirmed_mails": 0, "unconfirmed_openids": 0}
    return Response(json_body=counts, content_type="application/json")


def openid_login(visit: Visit) -> Any:
    """``/openid/login/``: a form that reports that the login is not available."""
    errors = ["OpenID login is not available here."] if visit.request.method == "POST" else []
    return OPENID.page(visit, *errors)


def static_file(visit: Visit, name: str) -> Any:
    """``/static/<name>``: a file in the server's file wrapper, which can use sendfile."""
    path = FILES.get(name)
    if path is None:
        raise exc.HTTPNotFound("There is no such file.")
    kind = mimetypes.guess_type(name)[0]
    response = Response(content_type=kind, last_modified=int(path.stat().st_mtime))
    response.headers["Cache-Control"] = f"max-age={STATIC_SECONDS}"
    known = visit.request.if_modified_since
    if known is not None and response.last_modified <= known:
        response.status = 304
        return response
    wrapper = visit.request.environ.get("wsgi.file_wrapper", FileWrapper)
    response.app_iter = wrapper(path.open("rb"), BLOCK)
    response.content_length = path.stat().st_size  # WebOb removes it with every new body
    return response


def favicon(visit: Visit) -> Any:
    """``/favicon.ico``, which browsers request without a link to it."""
    return static_file(visit, "img/mm/32.png")


def count_rows(visit: Visit) -> dict[str, int]:
    """Return the number of users, e-mail addresses, OpenIDs and photos."""
    tables = {"users": User, "mails": Email, "openids": OpenId, "avatars": Photo}
    with visit.site.database() as db:
        return {
            name: db.scalar(select(func.count()).select_from(table)) or 0
            for name, table in tables.items()
        }


def parse_size(text: str) -> int:
    """Return the pixels of an avatar, from 1 to 512; 80 if the text is not a positive number."""
    try:
        size = int(text)
    except ValueError:
        return DEFAULT_SIZE
    return min(size, MAX_SIZE) if size > 0 else DEFAULT_SIZE


def sized_image(kind: str, size: int) -> str:
    """Return the path of a static image, of the largest if there is none of this size."""
    name = f"img/{kind}/{size}.png"
    return f"/static/{name}" if name in FILES else f"/static/img/{kind}/512.png"


def digests(who: str) -> list[str]:
    """Return the digests of an e-mail address or an OpenID, or a digest itself; else none."""
    digest = who.strip().lower()
    if DIGEST.fullmatch(digest):
        return [digest]
    if email := normal_email(who):
        return [md5_digest(email), sha256_digest(email)]
    openid = normal_openid(who)
    return [sha256_digest(openid)] if openid else []


def _show(visit: Visit, template: str, title: str) -> Any:
    posted = visit.request.method == "POST"
    who, style = (visit.field("who"), visit.field("d")) if posted else ("", "")
    return visit.page(
        template, title, who=who, size=parse_size(visit.field("s") if posted else ""),
        style=style if style in STYLES else "identicon", styles=STYLES, samples=SAMPLES,
        posted=posted, digests=digests(who),
    )  # fmt: skip
