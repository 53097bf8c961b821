"""Settings; the tests choose by ``PORTRAITS_*`` variables what differs between runs."""

import os
from pathlib import Path
from urllib.parse import urlsplit

DATA = Path(os.environ.get("PORTRAITS_DATA", "data"))
GRAVATAR = os.environ.get("PORTRAITS_GRAVATAR", "https://secure.gravatar.com")
GRAVATAR_TIMEOUT = float(os.environ.get("PORTRAITS_TIMEOUT", "120"))
MAX_PHOTOS = int(os.environ.get("PORTRAITS_MAX_PHOTOS", "5"))
MAX_PHOTO_BYTES = 1 << 20
LARGEST_SIZE = 512
DEFAULT_SIZE = 80

SECRET_KEY = "of the tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "portraits.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "portraits",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/accounts/profile/"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": [os.environ.get("PORTRAITS_MEMCACHED", "127.0.0.1:11211")],
        # Without retries, a server that is gone is gone at every request.
        "OPTIONS": {"connect_timeout": 2, "timeout": 2, "retry_attempts": 0},
    },
    "filesystem": {
        "BACKEND": os.environ.get(
            "PORTRAITS_AVATAR_CACHE", "django.core.cache.backends.filebased.FileBasedCache"
        ),
        "LOCATION": str(DATA / "cache"),
        "TIMEOUT": 900,
        # Nothing is thrown away, so that clients can foretell what is there.
        "OPTIONS": {"MAX_ENTRIES": 1_000_000},
    },
}


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    engine = {"postgresql": "postgresql", "mariadb": "mysql"}[parts.scheme]
    if engine == "mysql":
        import pymysql

        pymysql.install_as_MySQLdb()
    return {
        "ENGINE": f"django.db.backends.{engine}", "NAME": parts.path.strip("/"),
        "USER": parts.username or "", "PASSWORD": parts.password or "",
        "HOST": parts.hostname, "PORT": str(parts.port),
    }  # fmt: skip


_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(DATA / "db.sqlite3"),
    "OPTIONS": {"timeout": 60},
}
_URL = os.environ.get("PORTRAITS_DATABASE", "")
DATABASES = {"default": _database(_URL) if _URL else _SQLITE}
