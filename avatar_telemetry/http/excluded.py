"""URLs that the operator wants no spans of.

``OTEL_PYTHON_WSGI_EXCLUDED_URLS``, or else ``OTEL_PYTHON_EXCLUDED_URLS``: comma-separated regular
expressions, searched in the path, percent-encoded as it was sent. One with ``://`` in it is
searched in the URL without its query string. So no client hides behind a query, or a Host of its
own.

    excluded = ExcludedUrls(["/stats/", "healthcheck$"])
    excluded.contains(environ)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from opentelemetry.util.http import ExcludeList

from avatar_telemetry.http import authority
from avatar_telemetry.http.privacy import quote_path

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_PATH_LENGTH = 2048
MAX_REMEMBERED_LENGTH = 512


class ExcludedUrls:
    """Tells whether a request is left out. False where nothing is excluded.

    Args:
        patterns: regular expressions; blank ones, which would be found in every URL, count for
            nothing.

    Raises:
        re.error: an expression does not compile.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        wanted = [pattern.strip() for pattern in patterns if pattern.strip()]
        self._any = bool(wanted)
        self._paths = ExcludeList([pattern for pattern in wanted if "://" not in pattern])
        self._urls = ExcludeList([pattern for pattern in wanted if "://" in pattern])
        self._remembered = lru_cache(maxsize=1024)(self._search)

    def __bool__(self) -> bool:
        return self._any

    def contains(self, environ: WSGIEnvironment) -> bool:
        """Whether the URL of this request is excluded. Never raises."""
        if not self._any:
            return False
        get = environ.get
        path = (get("SCRIPT_NAME") or "") + (get("PATH_INFO") or "")
        host = get("HTTP_HOST") or ""
        short = len(path) + len(host) <= MAX_REMEMBERED_LENGTH
        search = self._remembered if short else self._search
        return search(get("wsgi.url_scheme") or "", host, get("SERVER_NAME"), path)

    def _search(self, scheme: str, host: str, server_name: str | None, path: str) -> bool:
        server = authority.server(scheme, host, server_name, None)
        place = f"{scheme}://{server.netloc}" if server else ""
        quoted = quote_path(path[:MAX_PATH_LENGTH])
        return self._paths.url_disabled(quoted) or self._urls.url_disabled(place + quoted)
