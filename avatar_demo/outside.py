"""Pictures from Gravatar and Bluesky, over HTTPS."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit

from avatar_demo.images import image_format
from avatar_demo.site import Site

TEST_SIZE = 50
NO_IMAGE_SECONDS = 60


class NoPictureError(LookupError):
    """The service has no picture, or an unsupported one."""


def gravatar_url(site: Site, digest: str, **query: object) -> str:
    """Return the URL of the picture of a digest at Gravatar."""
    return f"{site.settings.gravatar_url}/avatar/{quote(digest)}?{urlencode(query)}"


def fetch_gravatar(site: Site, digest: str, size: int, default: str) -> tuple[bytes, str]:
    """Return a picture and the subtype of its media type, with one request to test, one to fetch.

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
    return _picture(fetch(site, gravatar_url(site, digest, **query)))


def fetch_bluesky(site: Site, handle: str) -> tuple[bytes, str]:
    """Return the picture of a handle at Bluesky and the subtype of its media type.

    Raises:
        NoPictureError: Bluesky has none.
        OSError: the network failed.
    """
    base = site.settings.bluesky_url
    profile = fetch(site, f"{base}/xrpc/app.bsky.actor.getProfile?actor={quote(handle)}")
    try:
        url = str(json.loads(profile)["avatar"])
        parts = urlsplit(url)
    except (ValueError, LookupError, TypeError):
        raise NoPictureError from None
    # The response names the host: only Bluesky's hosts are requested.
    bluesky = parts.scheme == "https" and (parts.hostname or "").endswith(".bsky.app")
    if not url.startswith(base + "/") and not bluesky:
        raise NoPictureError
    return _picture(fetch(site, url))


def fetch(site: Site, url: str) -> bytes:
    """Return the body of a response of the service.

    Raises:
        NoPictureError: the response is an error, or too large.
        OSError: the network failed.
    """
    limit, timeout = site.settings.max_upload, site.settings.outside_timeout
    try:
        # Scheme and host are from the settings; only the digest is from a user.
        with urllib.request.urlopen(url, timeout=timeout, context=site.trust) as response:  # noqa: S310
            data: bytes = response.read(limit + 1)
    except HTTPError as error:
        error.close()
        raise NoPictureError from None
    if len(data) > limit:
        raise NoPictureError
    return data


def _picture(data: bytes) -> tuple[bytes, str]:
    subtype = image_format(data)
    if not subtype:
        raise NoPictureError
    return data, subtype
