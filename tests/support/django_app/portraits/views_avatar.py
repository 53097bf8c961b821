"""An avatar: from the cache, from a photo, or drawn by a generator that is imported by name."""

from io import BytesIO

import Identicon
import pagan
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import caches
from django.http import HttpResponse, HttpResponseNotFound, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.generic.base import View
from ivatar.utils import mm_ng
from monsterid.id import build_monster as draw_monster
from PIL import Image
from pydenticon5 import Pydenticon5
from robohash import Robohash

from portraits.models import Address, Photo


def size_of(request) -> int:
    """Pixels that a request asks for."""
    wanted = request.GET.get("size", request.GET.get("s", ""))
    try:
        pixels = int(wanted)
    except ValueError:
        return settings.DEFAULT_SIZE
    return min(pixels, settings.LARGEST_SIZE) if pixels > 0 else settings.DEFAULT_SIZE


def monster(digest: str, size: int) -> Image.Image:
    return draw_monster(digest, size=(size, size))


def robot(digest: str, size: int) -> Image.Image:
    robohash = Robohash(digest)
    robohash.assemble(roboset="any", sizex=size, sizey=size)
    return robohash.img


def retro(digest: str, size: int) -> Image.Image:
    return Image.open(BytesIO(Identicon.render(digest))).resize((size, size))


def hero(digest: str, size: int) -> Image.Image:
    return pagan.Avatar(digest).img.resize((size, size))


def identicon(digest: str, size: int) -> Image.Image:
    return Pydenticon5().draw(digest, size, 0)


def silhouette(digest: str, size: int) -> Image.Image:
    return mm_ng(idhash=digest, size=size)


GENERATORS = {
    "monsterid": monster, "robohash": robot, "retro": retro, "pagan": hero,
    "identicon": identicon, "mmng": silhouette,
}  # fmt: skip


class Avatar(View):
    """``/avatar/DIGEST``"""

    def get(self, request, digest: str = "") -> HttpResponse:
        uri = request.build_absolute_uri()
        kept = caches["filesystem"].get(uri)
        if kept:
            return picture(kept["content"], kept["content_type"])
        if not digest:
            return HttpResponseRedirect(reverse("home"))
        forced = "y" in (request.GET.get("f"), request.GET.get("forcedefault"))
        address = self._find(digest)
        if address is not None and address.photo is not None and not forced:
            return self._photo(uri, address, size_of(request))
        if request.GET.get("gravatarproxy") != "n" and not forced:
            return HttpResponseRedirect(reverse("gravatarproxy", args=[digest]))
        return self._default(request, uri, digest)

    def _find(self, digest: str) -> Address | None:
        for name in ("md5", "sha256"):
            try:
                return Address.objects.select_related("photo").get(**{name: digest})
            except Address.DoesNotExist:
                pass
        return None

    def _photo(self, uri: str, address: Address, size: int) -> HttpResponse:
        photo = address.photo
        image = Image.open(BytesIO(photo.data))
        if min(image.size) < size:
            image = image.resize((size, size))
        else:
            image.thumbnail((size, size))
        file = BytesIO()
        image.save(file, photo.format)
        photo.shown += 1
        photo.save(update_fields=["shown"])
        address.shown += 1
        address.save(update_fields=["shown"])
        return keep(uri, file.getvalue(), f"image/{photo.format.lower()}")

    def _default(self, request, uri: str, digest: str) -> HttpResponse:
        default = request.GET.get("default", request.GET.get("d", ""))
        if default in GENERATORS:
            file = BytesIO()
            GENERATORS[default](digest, size_of(request)).save(file, "PNG")
            return keep(uri, file.getvalue(), "image/png")
        if default == "404":
            return HttpResponseNotFound("<h1>Image not found</h1>")
        name = "mm" if default in ("mm", "mp") else "nobody"
        return HttpResponseRedirect(f"/static/img/{name}/{size_of(request)}.png")


def keep(uri: str, content: bytes, content_type: str) -> HttpResponse:
    """Put an answer into the cache of avatars, and give it."""
    caches["filesystem"].set(uri, {"content": content, "content_type": content_type})
    return picture(content, content_type)


def picture(content: bytes, content_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=content_type)
    response["Cache-Control"] = "max-age=300"
    return response


def stats(request) -> JsonResponse:
    """``/stats/``"""
    models = {"users": User, "addresses": Address, "photos": Photo}
    return JsonResponse({name: model.objects.count() for name, model in models.items()})
