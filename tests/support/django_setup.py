"""Django in this process: set up once, with as little as the tests of its probes need."""

from __future__ import annotations

import django
from django.conf import settings


def set_up() -> None:
    """Configure Django, unless that is done."""
    if settings.configured:
        return
    settings.configure(
        ALLOWED_HOSTS=["*"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF="tests.support.django_urls",
        SECRET_KEY="of the tests",
    )
    django.setup()
