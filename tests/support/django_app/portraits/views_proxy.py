"""Gravatar's picture through this site, over ``urllib.request``."""

from io import BytesIO
from urllib.error import HTTPError
from urllib.request import urlopen

from django.conf import settings
from django.core.cache import cache
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.generic.base import View
from PIL import Image

from portraits.views_avatar import picture, size_of

NOTE_SECONDS = 60


class GravatarProxy(View):
    """``/gravatarproxy/DIGEST``: asks whether there is a picture at all, then for the picture.

    What goes wrong on the network at the first call is nobody's to catch: Django makes a 500 of it.
    """

    def get(self, request, digest: str) -> HttpResponse:
        test_url = f"{settings.GRAVATAR}/avatar/{digest}?s=50&d=404"
        if cache.get(test_url) == "none":
            return self._back(digest)
        try:
            urlopen(test_url, timeout=settings.GRAVATAR_TIMEOUT).close()
        except HTTPError as error:
            if error.code == 404:
                cache.set(test_url, "none", NOTE_SECONDS)
            return self._back(digest)
        return self._fetch(f"{settings.GRAVATAR}/avatar/{digest}?s={size_of(request)}", digest)

    def _fetch(self, url: str, digest: str) -> HttpResponse:
        if cache.get(url) == "failed":
            return self._back(digest)
        try:
            with urlopen(url, timeout=settings.GRAVATAR_TIMEOUT) as answer:
                data = answer.read()
        except OSError:
            cache.set(url, "failed", NOTE_SECONDS)
            return self._back(digest)
        form = Image.open(BytesIO(data)).format or ""
        return picture(data, f"image/{form.lower()}")

    def _back(self, digest: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("avatar", args=[digest]) + "?forcedefault=y")
