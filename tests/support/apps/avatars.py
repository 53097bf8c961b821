"""A small avatar server: slow answers, uploads, streams, files, forks and deaths."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from urllib.parse import parse_qs

from prometheus_client import Counter, Gauge, Histogram, Summary

from avatar_telemetry import Profile, Route, instrument

THINGS = Counter("app_things", "Things done.", ["kind"])
PLAIN = Counter("app_plain", "Requests, as the application counts them.")
WORK = Histogram("app_work_seconds", "Work.", buckets=(0.5, 5.0))
OPEN = Gauge("app_open", "Requests inside the application.", multiprocess_mode="livesum")
SIZE = Summary("app_size_bytes", "Sizes.")


def created(method, status, location):
    return status == 200 if method == "POST" else None


PROFILE = Profile(
    name="test",
    routes=(
        Route(r"^/avatar/\w+\Z", "/avatar/{id}", kind="avatar"),
        Route(r"^/upload\Z", "/upload", kind="upload", succeeded=created),
        Route(r"^/wait\Z", "/wait"),
        Route(r"^/pid\Z", "/pid"),
    ),
    size=lambda query: 80,
)


def application(environ, start_response):
    PLAIN.inc()
    OPEN.inc()
    try:
        path = environ["PATH_INFO"]
        answer = ROUTES.get(path, avatar if path.startswith("/avatar/") else page)
        return answer(environ, start_response)
    finally:
        OPEN.dec()


def page(environ, start_response):
    return _text(start_response, "a page")


def avatar(environ, start_response):
    THINGS.labels("avatar").inc(exemplar={"pid": str(os.getpid())})
    WORK.observe(0.25, exemplar={"user": "a visitor"})
    SIZE.observe(5)
    start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", "5")])
    return [b"hello"]


def pid(environ, start_response):
    return _text(start_response, str(os.getpid()))


def wait(environ, start_response):
    """Say that it is in, then wait until it may go on."""
    name = parse_qs(environ["QUERY_STRING"])["name"][0]
    Path(name + ".in").write_text(str(os.getpid()))
    while not Path(name + ".go").exists():
        time.sleep(0.01)
    return _text(start_response, str(os.getpid()))


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(5):
        time.sleep(0.01)
        yield f"{number}\n".encode()


def upload(environ, start_response):
    received = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return _text(start_response, str(len(received)))


def file(environ, start_response):
    """Send a file by the server's own wrapper, and note whether sendfile was used for it."""
    _note_sendfile(type(environ["gunicorn.socket"]))
    start_response("200 OK", [("Content-Type", "image/png")])
    return environ["wsgi.file_wrapper"](open("picture", "rb"))


def die(environ, start_response):
    os.kill(os.getpid(), signal.SIGKILL)
    return _text(start_response, "never")


def boom(environ, start_response):
    raise ValueError("the application's own fault")


def fork(environ, start_response):
    """A child that counts, and ends without telling anybody."""
    child = os.fork()
    if child == 0:
        THINGS.labels("child").inc()
        os._exit(0)
    os.waitpid(child, 0)
    return _text(start_response, "forked")


def late(environ, start_response):
    """A metric that is made when the worker serves already."""
    global LATE
    if LATE is None:
        LATE = Counter("app_late", "Made late.")
    LATE.inc()
    return _text(start_response, "late")


LATE: Counter | None = None
ROUTES = {
    "/boom": boom, "/die": die, "/file": file, "/fork": fork, "/late": late, "/pid": pid,
    "/stream": stream, "/upload": upload, "/wait": wait,
}  # fmt: skip


def _text(start_response, text):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]


def _note_sendfile(socket_class):
    original = socket_class.sendfile
    if getattr(original, "noted", False):
        return

    def sendfile(self, *args, **options):
        with open("sendfile.calls", "a") as calls:
            calls.write("call\n")
        return original(self, *args, **options)

    sendfile.noted = True
    socket_class.sendfile = sendfile


application = instrument(application, profile=PROFILE)
