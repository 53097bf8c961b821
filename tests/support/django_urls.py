"""URLs and views for the probes of Django, in every form in which a pattern can be written."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.urls import include, path, re_path


def page(request, *args, **kwargs):
    """Anything."""
    return HttpResponse(b"page")


def fail(request):
    """An error that Django answers."""
    raise LookupError("bob@example.com is not here")


def missing(request):
    """A 404 of the application's own."""
    raise Http404


SHOP = ([path("<slug:name>/", page, name="item"), path("", page, name="all")], "shop")

urlpatterns = [
    path("fail/", fail),
    path("missing/", missing),
    path("shop/<int:shop_id>/", include(SHOP)),
    re_path(r"^picture/(?P<digest>\w{32})(?:\.png)?$", page, name="picture"),
    re_path(r"anywhere/(\d+)/", page),
]
