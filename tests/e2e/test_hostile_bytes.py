"""Hostile bytes on real sockets: two gunicorns, one wrapped and one bare, answer the same."""

from __future__ import annotations

import re
import socket
from contextlib import closing, suppress

import pytest

from tests.support.gunicorn_server import DEADLINE, GunicornServer, Serve

HOST = b"Host: example.com\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=b\r\n"
UPLOAD = b"POST /accounts/upload_photo/ HTTP/1.1\r\n" + HOST + MULTIPART
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
FILE = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'


def get(path: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + path + b" " + version + b"\r\n" + HOST + lines + b"\r\n"


def chunked(*chunks: bytes) -> bytes:
    return UPLOAD + CHUNKED + b"".join(chunks)


CORPUS = {
    "plain": get(b"/"),
    "host with a bad port": b"GET / HTTP/1.1\r\nHost: example.com:abc\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/1.0": get(b"/", version=b"HTTP/1.0"),
    "HTTP/9.9": get(b"/", version=b"HTTP/9.9"),
    "no version": b"GET /\r\n\r\n",
    "absolute": get(b"http://evil.test/avatar/x?y"),
    "authority": b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "lower case method": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "odd method": b"BR!W / HTTP/1.1\r\n" + HOST + b"\r\n",
    "long method": b"X" * 100 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "head": b"HEAD /avatar/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw bytes": get(b"/\xff\xfe\xc3\xa9"),
    "NUL": get(b"/a\x00b"),
    "encoded NUL": get(b"/%00%ff%zz%"),
    "dots": get(b"/../../etc/passwd"),
    "long path": get(b"/" + b"avatar/" * 500),
    "too long path": get(b"/" + b"a" * 10_000),
    "long query": get(b"/avatar/x?" + b"s=1&" * 900),
    "many headers": get(b"/", *[b"X-Odd: %d" % number for number in range(90)]),
    "too many headers": get(b"/", *[b"X-%d: 1" % number for number in range(200)]),
    "large header": get(b"/", b"X-Odd: " + b"a" * 7000),
    "folded header": get(b"/", b"X-Odd: a", b" folded"),
    "header without colon": get(b"/", b"nothing"),
    "header with a space": get(b"/", b"X Odd: a"),
    "header with NUL": get(b"/", b"X-Odd: a\x00b"),
    "header of bytes": get(b"/", b"X-Odd: \xff\xfe"),
    "underscore header": get(b"/", b"X_Forwarded_For: 127.0.0.1"),
    "metrics, forwarded": get(b"/metrics", b"X-Forwarded-For: 127.0.0.1"),
    "metrics, posted": b"POST /metrics HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    "traceparent": get(b"/", b"traceparent: 00-zz-\xff", b"baggage: ==,,"),
    "cookie": get(b"/", b"Cookie: a=\xff; ;;=; b"),
    "length, negative": UPLOAD + b"Content-Length: -1\r\n\r\n",
    "length, no number": UPLOAD + b"Content-Length: ten\r\n\r\n",
    "length, twice": UPLOAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length, short body": UPLOAD + b"Content-Length: 500\r\n\r\n" + FILE,
    "length and chunks": UPLOAD
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks": chunked(b"%x\r\n" % len(FILE) + FILE + b"\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"),
    "chunks, cut off": chunked(b"ff\r\nabc"),
    "chunks, bad size": chunked(b"zz\r\nabc\r\n0\r\n\r\n"),
    "chunks, huge size": chunked(b"f" * 40 + b"\r\nabc"),
    "chunks, extension": chunked(b"3;x=y\r\nabc\r\n0\r\n\r\n"),
    "chunks, trailer": chunked(b"3\r\nabc\r\n0\r\nX-Odd: t\r\n\r\n"),
    "chunked twice": UPLOAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "other coding": UPLOAD + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "upload without end": UPLOAD + b"Content-Length: %d\r\n\r\n" % len(FILE) + FILE,
    "upload of noise": UPLOAD + b"Content-Length: 5\r\n\r\n\xff\x00\r\n-",
    "expect": UPLOAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    "expect odd": UPLOAD + b"Expect: miracles\r\nContent-Length: 2\r\n\r\nab",
    "pipelined": get(b"/one") + get(b"/two"),
    "rubbish behind": get(b"/") + b"\x00\x01\x02",
    "empty": b"",
    "newlines": b"\r\n\r\n\r\n",
    "half": b"GET / HT",
    "half a header": b"GET / HTTP/1.1\r\nHost: exam",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "noise": bytes(range(256)) * 4,
    "bare newlines": b"GET / HTTP/1.1\nHost: example.com\n\n",
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory):
    """The same application behind two gunicorns."""
    folder = tmp_path_factory.mktemp("hostile")
    bare = GunicornServer(folder / "bare", "echo:bare", workers=1, hooks="")
    wrapped = GunicornServer(folder / "wrapped", "echo:application", workers=1)
    with closing(bare), closing(wrapped):
        yield bare.start(), wrapped.start()


def exchange(server: GunicornServer, data: bytes) -> bytes:
    """What a server answers, without the time of day."""
    host, _, port = server._address.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        with suppress(OSError):  # it may have answered and gone before it was told everything
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        try:
            while received := connection.recv(65536):
                answer += received
        except ConnectionError:
            answer += b"<reset>"
    return re.sub(rb"Date: [^\r]*\r\n|127\.0\.0\.1:\d+", b"", answer)


@pytest.mark.parametrize("name", CORPUS)
def test_hostile_bytes(servers: tuple[GunicornServer, GunicornServer], name: str) -> None:
    """Whatever comes in, the answer is the one that comes without the layer."""
    bare, wrapped = servers
    assert exchange(wrapped, CORPUS[name]) == exchange(bare, CORPUS[name])


def test_afterwards_it_counts_as_before(
    servers: tuple[GunicornServer, GunicornServer], serve: Serve
) -> None:
    """After all of that nothing is in progress, nothing of ours has failed."""
    _, wrapped = servers
    before = wrapped.requests()
    assert wrapped.get("/after").status == 200
    assert wrapped.requests() == before + 1
    assert wrapped.value("ivatar_requests_in_progress") == 0
    assert wrapped.value("avatar_telemetry_internal_errors_total") == 0
