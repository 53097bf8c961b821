"""The upload observer: the application gets what it would get, and files are seen."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from wsgiref.validate import InputWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.wsgi.upload import UploadObserver, observe_upload
from tests.support.paths import REPOSITORY

MULTIPART = "multipart/form-data; boundary=bound"
SMALL = st.binary(max_size=300)


def unexpected() -> None:
    raise AssertionError("a failure of ours")


def observer(body: bytes, content_type: str = MULTIPART) -> UploadObserver:
    observed = observe_upload(
        {"CONTENT_TYPE": content_type, "wsgi.input": BytesIO(body)}, unexpected
    )
    assert observed is not None
    return observed


def form(*files: tuple[str, bytes], field: bytes = b"value") -> bytes:
    parts = [b'--bound\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + field + b"\r\n"]
    for content_type, data in files:
        head = f'name="photo"; filename="me"\r\nContent-Type: {content_type}'.encode()
        parts.append(b"--bound\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n")
        parts.append(data + b"\r\n")
    return b"".join(parts) + b"--bound--\r\n"


@given(
    st.lists(st.tuples(st.sampled_from(["image/png", "text/plain"]), SMALL), max_size=4),
    st.lists(st.integers(1, 200), min_size=1),
)
def test_files_are_told_whatever_the_reads(files, reads) -> None:
    """Type and size of each file are seen, however the application slices its reads."""
    files = [(kind, data.replace(b"--bound", b"")) for kind, data in files]
    body = form(*files)
    observed, got = observer(body), b""
    while len(got) < len(body):
        got += observed.read(reads[len(got) % len(reads)])
    assert got == body
    assert list(observed.files()) == [(kind, len(data)) for kind, data in files]


@given(st.one_of(st.binary(max_size=2000), SMALL.map(lambda data: form(("image/png", data))[:-9])))
def test_any_bytes_reach_the_application_unchanged(body: bytes) -> None:
    """Malformed, lying and cut-off bodies raise nothing and change nothing."""
    assert observer(body).read() == body
    assert b"".join(observer(body)) == body
    assert observer(body).readlines() == BytesIO(body).readlines()
    observed = observer(body)
    lines = iter(observed.readline, b"")
    assert b"".join(lines) == body


def test_a_cut_off_file_counts_with_what_came() -> None:
    """Of a file whose end never came the bytes that did are told."""
    observed = observer(form(("image/png", b"x" * 1000))[:-300])
    observed.read()
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
    observed = observer(b"")
    observed._stream = BytesIO(b"\n" * 100_000)
    parser = observed._parser = CountingParser()
    assert sum(1 for _ in iter(observed.readline, b"")) == 100_000
    list(observed.files())
    assert 0 < parser.calls < 100


def test_a_stream_that_gives_no_bytes_is_the_applications() -> None:
    """What a stream gives that is no bytes reaches the application as it is."""
    observed = observer(b"")
    observed._stream = type("Odd", (), {"read": lambda self: None})()
    assert observed.read() is None


LARGE_READ = """
import tracemalloc
from tests.unit.wsgi.test_upload import form, observer

observed = observer(form(("image/png", b"x" * 20_000_000)))
observed.read(1)
tracemalloc.start()
data = observed.read()
peak = tracemalloc.get_traced_memory()[1] - len(data)
assert next(observed.files())[0] == "image/png"
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
    observed.read()
    assert len(list(observed.files())) <= 100


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


def test_other_methods_of_the_input_pass() -> None:
    """What a server's input can do besides, it still can; the validator's, too."""
    observed = observer(b"body")
    assert observed.getvalue() == b"body"
    validated = UploadObserver(InputWrapper(BytesIO(b"body")), "bound", unexpected)
    assert validated.read(4) == b"body"


def test_an_error_of_the_input_passes() -> None:
    """What the server's input raises reaches the application."""

    class Broken(BytesIO):
        def read(self, *args):
            raise OSError("gone")

    observed = UploadObserver(Broken(), "bound", unexpected)
    with pytest.raises(OSError, match="gone"):
        observed.read()
