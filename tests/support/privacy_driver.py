"""Sends marked secrets over every route of ivatar's profile, in a process that exports what it may.

It prints the metrics page at its end; log records of every logger at level DEBUG go to the
standard error.
"""

from __future__ import annotations

import logging
import sys
from typing import Any
from urllib.parse import quote

from avatar_telemetry import instrument
from avatar_telemetry.metrics.exposition import OPENMETRICS
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.wsgi.request import current_request
from avatar_telemetry.wsgi.slow_requests import record_abort
from tests.support.wsgi_client import call, make_environ

DIGEST = "5ec2e7d16e57" + "0" * 20
EMAIL = "marked.mail@secret.test"
USER = "markeduser"
TOKEN = "markedtoken-0123456789abcdef"
KEY = "markedkey0123456789abcdef"
COOKIE = "markedcookie"
REFERER = "markedreferer"
CREDENTIALS = "markedcredentials"
BAGGAGE = "markedbaggage"
FILE = "markedfile"
QUERY = "markedquery"
BODY = "markedbody"
AGENT = "markedagent@secret.test"
HOST = "markedhost"
METHOD = "MARKEDMETHOD"
STATE = "markedstate"
ADDRESS = "203.0.113.77"
LOCATION = "markedlocation"
MESSAGE = "markedmessage"
PLACES = {
    "{digest}": DIGEST, "{user}": USER, "{id}": "7", "{key}": KEY, "{email}": EMAIL, "{uid}": USER,
    "{token}": TOKEN, "{invalid}": USER, "{page}": USER, "{file}": USER,
}  # fmt: skip
UPLOAD = (
    "--limit\r\n"
    f'Content-Disposition: form-data; name="photo"; filename="{FILE}.png"\r\n'
    f"Content-Type: image/png\r\n\r\n{BODY}\r\n--limit--\r\n"
).encode()


class MarkedError(Exception):
    """An exception of the application."""


def application(environ: Any, start_response: Any) -> Any:
    form = environ["wsgi.input"].read()
    if environ["HTTP_X_END"] == "redirect":
        record_stack(form)
    if environ["HTTP_X_END"] == "raise":
        raise MarkedError(
            f"'{MESSAGE}' of {EMAIL} at {DIGEST} with token={TOKEN}, https://{USER}:{KEY}@x.test/"
        )
    status = {"page": "200 OK", "redirect": "302 Found"}[environ["HTTP_X_END"]]
    headers = [("Content-Type", "image/png"), ("Location", f"/{LOCATION}?{QUERY}"),
               ("Set-Cookie", f"s={COOKIE}")]  # fmt: skip
    start_response(status, headers)
    return [BODY.encode()]


def record_stack(form: bytes) -> None:
    """Record the stack of the request, as in a worker that is aborted."""
    request = current_request()
    if request is not None:
        record_abort(sys._getframe(), request.guard)


def paths() -> dict[str, str]:
    """A path for every route, by its template."""
    found = {"other": f"/{USER}"}
    for route in PROFILE.routes:
        path = route.template
        for place, secret in PLACES.items():
            path = path.replace(place, secret)
        if PROFILE.route(path).template == route.template:
            found[route.template] = path
    return found


def requests(path: str) -> Any:
    """Environs of requests for a path: read, sent to, and odd ones."""
    query = f"s={QUERY}&token={TOKEN}&{USER}={KEY}&d={quote(EMAIL)}"
    more = {
        "REMOTE_ADDR": ADDRESS, "HTTP_COOKIE": f"sessionid={COOKIE}",
        "HTTP_REFERER": f"https://x.test/{REFERER}", "HTTP_USER_AGENT": f"Agent/1 ({AGENT})",
        "HTTP_AUTHORIZATION": f"Basic {CREDENTIALS}", "HTTP_BAGGAGE": f"a={BAGGAGE}",
        "HTTP_HOST": f"{HOST}@secret.test", "HTTP_TRACEPARENT": f"00-{'a1' * 16}-{'b2' * 8}-01",
        "HTTP_TRACESTATE": f"{STATE}={STATE},ot=x:{STATE};th:8",
    }  # fmt: skip
    for end in ("page", "redirect", "raise"):
        more["HTTP_X_END"] = end
        yield make_environ(path, "GET", query, **more)
        yield make_environ(
            path, "POST", query, UPLOAD, CONTENT_TYPE="multipart/form-data; boundary=limit", **more
        )
    yield make_environ(path, METHOD, query, **{**more, "HTTP_X_END": "page"})


def main() -> None:
    """Drive everything, print the page; what is there is sent at the end of the process."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    wrapped = instrument(application)
    for path in paths().values():
        for environ in requests(path):
            try:
                call(wrapped, environ)
            except MarkedError:
                continue
    for accept in ("text/plain", OPENMETRICS):
        page = call(wrapped, path="/metrics", REMOTE_ADDR="127.0.0.1", HTTP_ACCEPT=accept)
        print(page.content.decode())


if __name__ == "__main__":
    main()
