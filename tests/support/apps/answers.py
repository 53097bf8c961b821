"""Answers of every kind that follow from the request alone, so that two servers can be compared."""

from __future__ import annotations

from avatar_telemetry import Profile, Route, instrument


def taken(method, status, location):
    return status == 200 if method == "POST" else None


PROFILE = Profile(
    name="answers",
    routes=(
        Route(r"^/avatar/\w+\Z", "/avatar/{id}", kind="avatar"),
        Route(r"^/upload\Z", "/upload", kind="upload", succeeded=taken),
        Route(r"^/back\Z", "/back"),
    ),
    size=lambda query: 80,
)
STATUSES = {"/gone": "404 Not Found", "/moved": "302 Found", "/wrong": "500 Internal Server Error"}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stream":
        return stream(start_response)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or path.encode()
    kind = "image/png" if path.startswith("/avatar/") else "text/plain"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Location", "/")]
    start_response(STATUSES.get(path, "200 OK"), headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def stream(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield from (f"{number}\n".encode() for number in range(5))


application = instrument(application, profile=PROFILE)
