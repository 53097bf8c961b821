"""URLs whose requests have no spans.

``OTEL_PYTHON_WSGI_EXCLUDED_URLS``, or else ``OTEL_PYTHON_EXCLUDED_URLS``: comma-separated regular
expressions, searched in the percent-encoded path. One that contains ``://`` is searched in the URL
without its query string. Thus a client cannot avoid spans with a query string or a Host header.

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
MAX_CACHED_LENGTH = 512


class ExcludedUrls:
    """The excluded URLs. False if there are none.

    Args:
        patterns: the regular expressions; blank ones, which would match every URL, are ignored.

    Raises:
        re.error: an expression does not compile.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        wanted = [pattern.strip() for pattern in patterns if pattern.strip()]
        self._any = bool(wanted)
        self._paths = ExcludeList([pattern for pattern in wanted if "://" not in pattern])
        self._urls = ExcludeList([pattern for pattern in wanted if "://" in pattern])
        self._cached = lru_cache(maxsize=1024)(self._search)

    def __bool__(self) -> bool:
        return self._any

    def contains(self, environ: WSGIEnvironment) -> bool:
        """Return whether the URL of a request is excluded. Never raises."""
        if not self._any:
            return False
        get = environ.get
        path = (get("SCRIPT_NAME") or "") + (get("PATH_INFO") or "")
        host = get("HTTP_HOST") or ""
        short = len(path) + len(host) <= MAX_CACHED_LENGTH
        search = self._cached if short else self._search
        return search(get("wsgi.url_scheme") or "", host, get("SERVER_NAME"), path)

    def _search(self, scheme: str, host: str, server_name: str | None, path: str) -> bool:
        server = authority.server(scheme, host, server_name, None)
        place = f"{scheme}://{server.netloc}" if server else ""
        quoted = quote_path(path[:MAX_PATH_LENGTH])
        return self._paths.url_disabled(quoted) or self._urls.url_disabled(place + quoted)
