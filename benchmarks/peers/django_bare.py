"""A Django without middleware, which django-prometheus is compared with."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test.utils import override_settings
from django.urls import re_path

from benchmarks.applications import IMAGE
from benchmarks.peers import Wrapped


def avatar(request: Any, digest: str) -> HttpResponse:
    """The trivial application's answer as a view."""
    return HttpResponse(IMAGE, content_type="image/png")


urlpatterns = [re_path(r"^avatar/(?P<digest>\w{32})$", avatar, name="avatar")]


def handler(*middleware: str) -> WSGIHandler:
    """A Django with these middlewares."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="benchmark", LOGGING_CONFIG=None
        )
        django.setup()
    with override_settings(MIDDLEWARE=list(middleware)):
        return WSGIHandler()


def wrap(name: str) -> Wrapped:
    """Django alone."""
    return Wrapped(handler())
