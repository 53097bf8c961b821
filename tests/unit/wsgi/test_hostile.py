"""Hostile requests: answered the same, wrapped and bare."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import hypothesis
import pytest
from webob import Request, Response

from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import Exchange, finish, make_environ

CASES = 50 * hypothesis.settings.default.max_examples
NASTY = [
    "\x00", "\xff\xfe", "%00", "%", "%zz", "../", "//", "/avatar/", DIGEST, "a" * 3000, "\xc3\xa9",
    "é\u2028".encode().decode("latin-1"), "<script>", "'\"\\", "\r\n", ";", "&&==", "import_photo/",
    "@example.org", "/accounts/", "/metrics", "gravatarproxy/", ".png", "..", " ", "\t", "{}",
]  # fmt: skip
METHODS = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW", "", "get", "G\xffT", "X" * 300,
]  # fmt: skip
HEADERS = [
    "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_AUTHORIZATION", "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING", "HTTP_COOKIE", "HTTP_TRANSFER_ENCODING", "HTTP_RANGE", "SERVER_PORT",
    "HTTP_TRACEPARENT", "HTTP_BAGGAGE", "HTTP_CONTENT_TYPE", "REMOTE_PORT", "HTTP_PROXY",
]  # fmt: skip
TYPES = [
    "multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary*=x''%00", 'multipart/form-data; boundary="', "text/plain",
    "application/x-www-form-urlencoded", "\xff", "",
]  # fmt: skip
PARTS = [
    b"--b\r\n", b"--b--", b"\r\n", b"\n", b'Content-Disposition: form-data; name="photo"',
    b'Content-Disposition: form-data; name="p"; filename="\xff\x00"', b"Content-Type: image/png",
    b"Content-Length: -5", b"\x00" * 500, b": ", b"a: b", b"--b", b"x" * 70_000,
]  # fmt: skip


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Answers out of everything that it was given, in many shapes."""
    request = Request(environ)
    seen = [environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]]
    seen += [f"{name}={environ[name]!r}" for name in sorted(environ) if name.startswith("HTTP_")]
    body = environ["wsgi.input"].read()
    text = "\n".join(seen).encode("latin-1", "replace") + body
    shape = len(text) % 8
    if shape == 0:
        raise ValueError(len(text))
    if shape == 1:
        return streamed(text, start_response)
    if shape == 2:
        write = start_response("200", [("Content-Type", "text/plain")])
        write(text[:10])
        return [text[10:]]
    if shape == 3:
        return broken(text, start_response)
    if shape == 4:
        start_response("302 Found", [("Location", "/accounts/crop_photo/1")])
        return []
    if shape == 5:
        fields = Request({**environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))})
        text = repr(len(fields.POST)).encode()
    response = Response(body=text, status=[200, 404, 500][len(text) % 3], etag="tag")
    response.conditional_response = request.method in ("GET", "HEAD")
    return response(environ, start_response)


def streamed(text: bytes, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "image/png")])
    for start in range(0, len(text), 1000):
        yield text[start : start + 1000]


def broken(text: bytes, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield text[:100]
    raise LookupError("in the middle")


class Case:
    """One request, made anew as often as it is sent."""

    def __init__(self, number: int) -> None:
        self._number = number

    def environ(self) -> dict[str, Any]:
        choose = random.Random(self._number)
        body = b"".join(choose.choices(PARTS, k=choose.randrange(8)))
        upload = choose.random() < 0.3
        path = "/accounts/upload_photo/" if upload else "/" + self._text(choose)
        more = {name: self._text(choose) for name in choose.sample(HEADERS, 3)}
        return make_environ(
            path, choose.choice(["POST", *METHODS]), self._text(choose), body,
            CONTENT_TYPE=choose.choice(TYPES), **more,
        )  # fmt: skip

    @staticmethod
    def _text(choose: random.Random) -> str:
        return "".join(choose.choices(NASTY, k=choose.randrange(5)))


def outcome(wrapped: Any, environ: dict[str, Any]) -> tuple[Any, ...]:
    """Everything that a server sees."""
    exchange, error = Exchange(), None
    try:
        exchange.body = wrapped(environ, exchange.start_response)
        finish(exchange)
    except Exception as raised:  # noqa: BLE001 - compared below
        error = (type(raised), str(raised))
    return exchange.status, exchange.headers, exchange.content, exchange.starts, error


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # WebOb leaves spooled uploads open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_wrapped_and_bare_answer_the_same(recorder: Recorder) -> None:
    """Status, headers, body and exception of each request are the application's own."""
    wrapped = recorder.wrap(application)
    for number in range(CASES):
        case = Case(number)
        assert outcome(wrapped, case.environ()) == outcome(application, case.environ()), number
    assert recorder.value("ivatar_requests_total") == CASES
    assert recorder.value("avatar_telemetry_series_refused_total") == 0
