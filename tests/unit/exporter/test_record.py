"""The record of a server for its exporter."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry.exporter.record import (
    FILE_NAME,
    MAX_LENGTH,
    PACKAGE,
    Record,
    make_record,
    read_record,
    write_record,
)

RECORD = Record({"OTEL_EXPORT_ENABLED": "true"}, ("/lib",), "/lib/x", 7, (1, 2), 5.0)


def test_environment_of_the_exporter() -> None:
    """It has the variables that telemetry reads, and no secret of the application."""
    environ = {
        "OTEL_SERVICE_NAME": "pictures", "AVATAR_TELEMETRY_SIZES": "80", "https_proxy": "http://p",
        "NO_PROXY": "x", "REQUESTS_CA_BUNDLE": "/ca", "HOSTNAME": "h", "GRPC_VERBOSITY": "debug",
        "SECRET_KEY": "s", "DATABASE_URL": "d", "PYTHONPATH": "/x", "LD_PRELOAD": "y",
    }  # fmt: skip
    record = make_record(environ, 7, iter((1, 2)))
    assert record.environ == {
        name: environ[name]
        for name in ("OTEL_SERVICE_NAME", "AVATAR_TELEMETRY_SIZES", "https_proxy", "NO_PROXY",
                     "REQUESTS_CA_BUNDLE", "HOSTNAME", "GRPC_VERBOSITY")
    }  # fmt: skip
    assert (record.master, record.listeners, record.package) == (7, (1, 2), PACKAGE)
    assert 0 < record.since <= time.monotonic()
    assert record.ends_at == 0.0


def test_import_path_of_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative entries are those of the server's folder; what is no text is left out."""
    monkeypatch.setattr(sys, "path", ["", "lib", "/usr/lib", 5])
    assert make_record({}).path == (os.getcwd(), f"{os.getcwd()}/lib", "/usr/lib")
    assert (Path(PACKAGE) / "exporter" / "record.py").exists()


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """All fields are kept; the file is its owner's alone, and no other one is left."""
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_program_is_what_needs_another_exporter() -> None:
    """Other settings or another installation do; another master or its end does not."""
    same = replace(RECORD, master=8, listeners=(), since=6.0, ends_at=9.0)
    assert same.program == RECORD.program
    for changed in (
        replace(RECORD, environ={}), replace(RECORD, path=()), replace(RECORD, package="/other")
    ):  # fmt: skip
        assert changed.program != RECORD.program


def test_the_newest_process_leaves_its_record(tmp_path: Path) -> None:
    """A worker from before a reload does not put its settings back."""
    old, new = replace(RECORD, environ={}), replace(RECORD, since=6.0)
    for each in (old, new, old):
        write_record(tmp_path, each)
    assert read_record(tmp_path) == new


def test_same_record_is_not_written_again(tmp_path: Path) -> None:
    """Workers of one configuration leave the file alone."""
    write_record(tmp_path, RECORD)
    before = (tmp_path / FILE_NAME).stat().st_ino
    write_record(tmp_path, replace(RECORD, since=6.0))
    assert (tmp_path / FILE_NAME).stat().st_ino == before


def test_record_of_an_ended_server_is_replaced(tmp_path: Path) -> None:
    """The next server of a folder begins with its own record, whenever it was made."""
    write_record(tmp_path, replace(RECORD, ends_at=9.0))
    write_record(tmp_path, replace(RECORD, since=1.0))
    assert read_record(tmp_path) == replace(RECORD, since=1.0)


def changed(**fields: Any) -> bytes:
    return json.dumps({**asdict(RECORD), **fields}).encode()


BAD = [
    pytest.param(b"", id="empty"),
    pytest.param(changed()[:-20], id="truncated"),
    pytest.param(b"\xff\xfe", id="no text"),
    pytest.param(b"[]", id="list"),
    pytest.param(b"7", id="number"),
    pytest.param(b"null", id="null"),
    pytest.param(b"{}", id="nothing in it"),
    pytest.param(b"[" * 500_000, id="nested"),
    pytest.param(changed(more=1), id="another field"),
    pytest.param(changed(environ=[]), id="environ of a list"),
    pytest.param(changed(environ={"A": 1}), id="environ of numbers"),
    pytest.param(changed(environ=None), id="environ of nothing"),
    pytest.param(changed(path=[1]), id="path of numbers"),
    pytest.param(changed(path=5), id="path of a number"),
    pytest.param(changed(package=None), id="no package"),
    pytest.param(changed(master="1"), id="master of a text"),
    pytest.param(changed(listeners=["1"]), id="listeners of texts"),
    pytest.param(changed(since="now"), id="since of a text"),
    pytest.param(changed(since=1e300), id="from the future"),
    pytest.param(changed(ends_at=float("nan")), id="no end"),
    pytest.param(changed(debug="no"), id="debug of a text"),
    pytest.param(changed(environ={"OTEL_X": "x" * MAX_LENGTH}), id="huge"),
]


@pytest.mark.parametrize("content", BAD)
def test_bad_record(tmp_path: Path, content: bytes) -> None:
    """It counts as none, and the next process replaces it."""
    (tmp_path / FILE_NAME).write_bytes(content)
    assert read_record(tmp_path) is None
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD


def test_link_in_place_of_the_record(tmp_path: Path) -> None:
    """It is neither followed nor written through."""
    write_record(tmp_path, RECORD)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / FILE_NAME).rename(elsewhere)
    content = elsewhere.read_bytes()
    (tmp_path / FILE_NAME).symlink_to(elsewhere)
    assert read_record(tmp_path) is None
    write_record(tmp_path, replace(RECORD, master=9))
    assert elsewhere.read_bytes() == content
    assert read_record(tmp_path) == replace(RECORD, master=9)


@pytest.mark.parametrize("kind", ["symlink", "link", "file"])
def test_something_in_place_of_the_new_file(tmp_path: Path, kind: str) -> None:
    """What another process left there, or planted, is removed and not written through."""
    elsewhere, new = tmp_path / "elsewhere", tmp_path / f"exporter-{os.getpid()}.new"
    elsewhere.write_bytes(b"precious")
    if kind == "symlink":
        new.symlink_to(elsewhere)
    elif kind == "link":
        os.link(elsewhere, new)
    else:
        new.write_bytes(b"left")
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD
    assert elsewhere.read_bytes() == b"precious"


def test_record_that_cannot_be_written(tmp_path: Path) -> None:
    """The caller learns why, and no part of it is left."""
    (tmp_path / FILE_NAME).mkdir()
    assert read_record(tmp_path) is None
    with pytest.raises(OSError):
        write_record(tmp_path, RECORD)
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]
    with pytest.raises(OSError):
        write_record(tmp_path / "gone", RECORD)
