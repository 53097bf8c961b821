"""The upload observer: the application gets what it would get, and files are seen."""

from __future__ import annotations

import subprocess
import sys
from array import array
from contextlib import suppress
from copy import copy
from inspect import signature
from io import BufferedReader, BytesIO
from typing import Any
from wsgiref.validate import InputWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.wsgi.upload import observe_upload
from tests.support.paths import REPOSITORY

MULTIPART = "multipart/form-data; boundary=bound"
SMALL = st.binary(max_size=300)


def unexpected() -> None:
    raise AssertionError("a failure of ours")


class Observed:
    """An input and what is seen of it."""

    def __init__(self, stream: Any, content_type: str = MULTIPART) -> None:
        environ = {"CONTENT_TYPE": content_type, "wsgi.input": stream}
        self.upload = observe_upload(environ, unexpected)
        self.input = environ["wsgi.input"]

    def files(self) -> list[tuple[str, int]]:
        return [*self.upload.files()]


def observer(body: bytes) -> Observed:
    return Observed(BytesIO(body))


def form(*files: tuple[str, bytes], field: bytes = b"value") -> bytes:
    parts = [b'--bound\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + field + b"\r\n"]
    for content_type, data in files:
        head = f'name="photo"; filename="me"\r\nContent-Type: {content_type}'.encode()
        parts.append(b"--bound\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n")
        parts.append(data + b"\r\n")
    return b"".join(parts) + b"--bound--\r\n"


@given(
    st.lists(st.tuples(st.sampled_from(["image/png", "other"]), SMALL), max_size=4),
    st.lists(st.integers(1, 200), min_size=1),
)
def test_files_are_told_whatever_the_reads(files, reads) -> None:
    """Type and size of each file are seen, however the application slices its reads."""
    files = [(kind, data.replace(b"--bound", b"")) for kind, data in files]
    body = form(*files)
    observed, got = observer(body), b""
    while len(got) < len(body):
        got += observed.input.read(reads[len(got) % len(reads)])
    assert got == body
    assert observed.files() == [(kind, len(data)) for kind, data in files]


@given(st.one_of(st.binary(max_size=2000), SMALL.map(lambda data: form(("image/png", data))[:-9])))
def test_any_bytes_reach_the_application_unchanged(body: bytes) -> None:
    """Malformed, lying and cut-off bodies raise nothing and change nothing."""
    assert observer(body).input.read() == body
    assert b"".join(observer(body).input) == body
    assert observer(body).input.readlines() == BytesIO(body).readlines()
    lines = iter(observer(body).input.readline, b"")
    assert b"".join(lines) == body


def test_a_cut_off_file_counts_with_what_came() -> None:
    """Of a file whose end never came the bytes that did are told."""
    observed = observer(form(("image/png", b"x" * 1000))[:-300])
    observed.input.read()
    ((kind, size),) = observed.files()
    assert kind == "image/png"
    assert 600 < size < 1000


class CountingParser:
    """Stands for the parser, and counts how often it is asked."""

    closed = False

    def __init__(self):
        self.calls = 0

    def parse(self, data):
        self.calls += 1
        return ()


def test_lines_are_not_parsed_one_by_one() -> None:
    """A body of nothing but line ends, read line by line, costs few calls of the parser."""
    observed = observer(b"\n" * 100_000)
    parser = observed.upload._parser = CountingParser()
    assert sum(1 for _ in iter(observed.input.readline, b"")) == 100_000
    observed.files()
    assert 0 < parser.calls < 100


def test_a_stream_that_gives_no_bytes_is_the_applications() -> None:
    """A value of a stream that is not bytes reaches the application unchanged."""
    observed = Observed(type("Odd", (), {"read": lambda self: None})())
    assert observed.input.read() is None


LARGE_READ = """
import tracemalloc
from tests.unit.wsgi.test_upload import form, observer

observed = observer(form(("image/png", b"x" * 20_000_000)))
observed.input.read(1)
tracemalloc.start()
data = observed.input.read()
peak = tracemalloc.get_traced_memory()[1] - len(data)
assert observed.files()[0][0] == "image/png"
assert peak < 1_000_000, peak  # slices of 64 KB, and what the parser makes of one
"""


def test_a_large_read_is_not_kept() -> None:
    """Whatever the application reads at once, the observer holds no more than 64 KB of it."""
    # A process of its own: here other threads may allocate meanwhile.
    done = subprocess.run(
        [sys.executable, "-c", LARGE_READ], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_parts_without_end_are_not_followed() -> None:
    """A body of very many parts costs no more than the first thousand of them."""
    observed = observer(form(*[("image/png", b"")] * 5000))
    observed.input.read()
    assert len(observed.files()) == 100


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded", "", "multipart/form-data",
        "multipart/form-data; boundary=", 'multipart/form-data; boundary="a\nb"',
    ],
)  # fmt: skip
def test_what_is_no_multipart_form_is_left_alone(content_type: str) -> None:
    """Without a usable boundary the input stays the server's own."""
    environ = {"CONTENT_TYPE": content_type, "wsgi.input": BytesIO(b"body")}
    assert observe_upload(environ, unexpected) is None


def test_an_error_of_the_input_passes() -> None:
    """An exception of the server's input reaches the application."""

    class Broken(BytesIO):
        def read(self, *args):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Observed(Broken()).input.read()


class Minimal:
    """A server's reader that can read, and nothing else."""

    def __init__(self, body: bytes) -> None:
        self._body = BytesIO(body)

    def read(self, size: int = -1) -> bytes:
        return self._body.read(size)


class Iterated(Minimal):
    """A reader whose lines come from an iterator of its own, as gunicorn's."""

    def __iter__(self):
        return iter(self._body)


FORM = form(("image/png", b"x" * 50))


def read_into(stream) -> bytes:
    buffer = bytearray(1000)
    return bytes(buffer[: stream.readinto(buffer)])


class Short(BytesIO):
    """A reader that fills a part of the buffer, as that of a socket may."""

    def readinto(self, buffer) -> int:
        return super().readinto(memoryview(buffer)[:7])


def read_into_one_buffer(stream) -> bytes:
    buffer, data = bytearray(10), b""
    while size := stream.readinto(buffer):
        data += buffer[:size]
    return data


def read_into_array(stream) -> bytes:
    buffer = array("H", bytes(1000))
    size = stream.readinto1(buffer)
    return buffer.tobytes()[:size]


def read_lines_by_next(stream) -> bytes:
    lines = []
    while line := next(stream, b""):
        lines.append(line)
    return b"".join(lines)


def read_in_a_with_block(stream) -> bytes:
    with stream as entered:
        return entered.read()


@pytest.mark.parametrize(
    ("make", "read"),
    [
        pytest.param(Minimal, lambda stream: stream.read(size=1000), id="read(size=)"),
        pytest.param(Iterated, lambda stream: b"".join(stream), id="iterator of its own"),
        pytest.param(BytesIO, lambda stream: b"".join(stream), id="iterator"),
        pytest.param(BytesIO, read_lines_by_next, id="next"),
        pytest.param(BytesIO, lambda stream: b"".join(stream.readlines(-1)), id="readlines"),
        pytest.param(BytesIO, lambda stream: stream.read1(1000), id="read1"),
        pytest.param(BytesIO, read_into, id="readinto"),
        pytest.param(Short, read_into_one_buffer, id="readinto, filled in part"),
        pytest.param(lambda body: BufferedReader(BytesIO(body)), read_into_array, id="readinto1"),
        pytest.param(BytesIO, read_in_a_with_block, id="with"),
        pytest.param(lambda body: InputWrapper(BytesIO(body)), lambda stream: stream.read(1000),
                     id="validator"),
        pytest.param(BytesIO, lambda stream: BufferedReader(stream).read(), id="buffered"),
    ],
)  # fmt: skip
def test_each_method_that_reads_is_observed(make, read) -> None:
    """With the signature that the server's has, whatever an application reads with is seen."""
    observed = Observed(make(FORM))
    assert read(observed.input) == FORM
    assert observed.files() == [("image/png", 50)]


@pytest.mark.parametrize(
    "stream", [Minimal(b""), Iterated(b""), BytesIO(), InputWrapper(BytesIO())]
)
def test_the_input_has_the_attributes_of_the_servers(stream) -> None:
    """The observer has exactly the methods of the server's reader."""
    observed = Observed(stream).input
    assert dir(observed) == dir(stream)
    names = {"read", "readline", "readlines", "readinto", "read1", "seek", "getvalue", "fileno",
             "__iter__", "__next__", "__enter__", "__exit__", "files", "rfile"}  # fmt: skip
    assert {each for each in names if hasattr(observed, each)} == names & set(dir(stream))
    assert signature(observed.read) == signature(stream.read)
    with suppress(TypeError):
        assert (iter(observed) is observed) == (iter(stream) is stream)


def test_an_attribute_is_set_on_the_servers_reader() -> None:
    """An attribute that an application sets is on the server's own object."""
    stream = Minimal(FORM)
    observed = Observed(stream).input
    observed.read(0)
    observed.read = lambda: b"replaced"
    assert stream.read() == observed.read() == b"replaced"


def test_an_input_can_be_copied() -> None:
    """A copy has the same stream, and one that is made without it has no attributes."""
    observed = Observed(BytesIO(FORM)).input
    assert copy(observed).read() == FORM
    bare = type(observed).__new__(type(observed))
    assert not hasattr(bare, "read")
    with pytest.raises(AttributeError):
        bare.read = None


def test_an_environ_used_again_is_observed_once() -> None:
    """The input of an earlier request with the same environ is not observed through it."""
    environ = {"CONTENT_TYPE": MULTIPART, "wsgi.input": BytesIO(FORM)}
    first, second = observe_upload(environ, unexpected), observe_upload(environ, unexpected)
    environ["wsgi.input"].read()
    assert first.files() == []
    assert second.files() == [("image/png", 50)]


LONG_HEADERS = """
import tracemalloc
from tests.unit.wsgi.test_upload import observer

head = b'--bound\\r\\nContent-Disposition: form-data; name="a"; filename="f"\\r\\n'
head += b"Content-Type: image/png; x=" + b"x" * 3000 + b"\\r\\n"
head += b"".join(b"X-%d: " % each + b"y" * 3900 + b"\\r\\n" for each in range(30))
observed = observer((head + b"\\r\\ndata\\r\\n") * 100 + b"--bound--\\r\\n")
tracemalloc.start()
for _ in iter(lambda: observed.input.read(1 << 16), b""):
    pass
assert observed.files() == [("image/png", 4)] * 100
kept = tracemalloc.get_traced_memory()[0]
assert kept < 500_000, kept
"""


def test_the_headers_of_parts_are_not_kept() -> None:
    """Of each file type and size are kept, however long its headers are."""
    done = subprocess.run(
        [sys.executable, "-c", LONG_HEADERS], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
