"""Pages for everybody: home, check, description, statistics, OpenID login."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import func, select
from webob import Response

from avatar_telemetry.demo.forms import Field, Form
from avatar_telemetry.demo.generators import GENERATORS
from avatar_telemetry.demo.models import (
    Email,
    OpenId,
    Photo,
    User,
    md5_digest,
    normal_email,
    normal_openid,
    sha256_digest,
)
from avatar_telemetry.demo.pages import Markup, fill, join
from avatar_telemetry.demo.views_avatar import parse_size
from avatar_telemetry.demo.visit import Visit

STYLES = (*GENERATORS, "mm", "404")
DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
OPENID = Form(
    "Log in with OpenID",
    "Log in",
    (Field("openid_identifier", "OpenID", "url", "url"),),
    "This demo has no OpenID provider to ask: the form is here, a login with it never succeeds.",
)


def home(visit: Visit) -> Any:
    """``/``: what this is, and a form that shows an avatar."""
    row = [_sample(visit, style) for style in GENERATORS]
    return _show(visit, "home", "Avatars for everybody", join(row))


def check(visit: Visit) -> Any:
    """``/tools/check/``: the avatar of an address in all styles."""
    return _show(visit, "check", "Check an address")


def description(visit: Visit) -> Any:
    """``/description/``"""
    return visit.page("description", "How it works")


def stats(visit: Visit) -> Any:
    """``/stats/``: counts as JSON."""
    tables = {"users": User, "mails": Email, "openids": OpenId, "avatars": Photo}
    with visit.site.database() as db:
        counts = {
            name: db.scalar(select(func.count()).select_from(table))
            for name, table in tables.items()
        }
    counts |= {"unconfirmed_mails": 0, "unconfirmed_openids": 0}
    return Response(body=json.dumps(counts).encode(), content_type="application/json")


def openid_login(visit: Visit) -> Any:
    """``/openid/login/``: a form that cannot succeed, and says so."""
    errors = ["OpenID login is not available here."] if visit.request.method == "POST" else []
    return OPENID.page(visit, errors)


def digests(who: str) -> list[str]:
    """The digests of an e-mail address, an OpenID, or a digest itself; none of anything else."""
    digest = who.strip().lower()
    if DIGEST.fullmatch(digest):
        return [digest]
    if email := normal_email(who):
        return [md5_digest(email), sha256_digest(email)]
    openid = normal_openid(who)
    return [sha256_digest(openid)] if openid else []


def _show(visit: Visit, template: str, title: str, samples: Markup | str = "") -> Any:
    posted = visit.request.method == "POST"
    who = visit.field("who") if posted else ""
    style = visit.field("d") if posted and visit.field("d") in STYLES else "identicon"
    size = parse_size({"s": visit.field("s")} if posted else {})
    return visit.page(
        template,
        title,
        who=who,
        size=size,
        options=join(_option(each, style) for each in STYLES),
        result=_result(visit, template, who, size, style) if posted else "",
        samples=samples,
    )


def _result(visit: Visit, template: str, who: str, size: int, style: str) -> Markup:
    found = digests(who)
    if not found:
        return fill("error_line", text="This is neither an e-mail address, an OpenID nor a digest.")
    if template == "home":
        return fill("avatar", url=_url(visit, found[0], size, style), size=size, label=found[0])
    pictures = [
        fill("avatar", url=_url(visit, digest, size, each), size=size, label=each)
        for digest in found
        for each in GENERATORS
    ]
    return join([*(fill("digest", digest=digest) for digest in found), *pictures])


def _sample(visit: Visit, style: str) -> Markup:
    return fill("avatar", url=_url(visit, md5_digest(style), 80, style), size=80, label=style)


def _url(visit: Visit, digest: str, size: int, style: str) -> str:
    return f"{visit.root}/avatar/{digest}?{urlencode({'s': size, 'd': style})}"


def _option(style: str, chosen: str) -> Markup:
    return fill("option", value=style, selected="selected" if style == chosen else "")
