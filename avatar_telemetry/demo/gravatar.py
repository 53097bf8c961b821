"""Pictures from outside: Gravatar and Bluesky, over HTTPS."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit

from avatar_telemetry.demo.photos import image_format
from avatar_telemetry.demo.site import Site

MAX_JSON = 256 * 1024
TEST_SIZE = 50
NO_IMAGE_SECONDS = 60


class NoPictureError(LookupError):
    """The other side has no picture, or none that we pass on."""


def gravatar_url(site: Site, digest: str, **query: object) -> str:
    """The address of a digest's picture at Gravatar."""
    return f"{site.settings.gravatar_url}/avatar/{quote(digest)}?{urlencode(query)}"


def fetch_gravatar(site: Site, digest: str, size: int, default: str) -> tuple[bytes, str]:
    """A picture and the subtype of its media type; one request to test, one to fetch.

    Raises:
        NoPictureError: Gravatar has none.
        OSError: the network failed.
    """
    test = gravatar_url(site, digest, s=TEST_SIZE, d="404")
    if site.cache.get("none:" + test):
        raise NoPictureError
    try:
        fetch(site, test)
    except NoPictureError:
        site.cache.set("none:" + test, b"1", NO_IMAGE_SECONDS)
        raise
    query = {"s": size, "d": default} if default else {"s": size}
    return checked_picture(fetch(site, gravatar_url(site, digest, **query)))


def fetch_bluesky(site: Site, handle: str) -> tuple[bytes, str]:
    """A handle's picture at Bluesky and the subtype of its media type.

    Raises:
        NoPictureError: Bluesky has none.
        OSError: the network failed.
    """
    base = site.settings.bluesky_url
    answer = fetch(site, f"{base}/xrpc/app.bsky.actor.getProfile?actor={quote(handle)}", MAX_JSON)
    try:
        url = str(json.loads(answer)["avatar"])
        parts = urlsplit(url)
    except (ValueError, LookupError, TypeError):
        raise NoPictureError from None
    # The answer names a host: only Bluesky's own are asked.
    own = url.startswith(base + "/")
    bluesky = parts.scheme == "https" and (parts.hostname or "").endswith(".bsky.app")
    if not own and not bluesky:
        raise NoPictureError
    return checked_picture(fetch(site, url))


def checked_picture(data: bytes) -> tuple[bytes, str]:
    """The picture and the subtype of its media type, which its own bytes tell.

    Raises:
        NoPictureError: it is none.
    """
    subtype = image_format(data)
    if subtype is None:
        raise NoPictureError
    return data, subtype


def fetch(site: Site, url: str, limit: int = 0) -> bytes:
    """The body of an answer of the other side.

    Raises:
        NoPictureError: it answered with an error, or with too much.
        OSError: the network failed.
    """
    limit = limit or site.settings.max_upload
    try:
        # Scheme and host come from the settings; a user gives no more than a digest.
        timeout = site.settings.outside_timeout
        with urllib.request.urlopen(url, timeout=timeout, context=site.trust) as answer:  # noqa: S310
            data: bytes = answer.read(limit + 1)
    except HTTPError as error:
        error.close()
        raise NoPictureError from None
    if len(data) > limit:
        raise NoPictureError
    return data
