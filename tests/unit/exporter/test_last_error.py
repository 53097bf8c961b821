"""The file of the last error: what a doctor finds of a failure, also after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_telemetry.exporter.last_error import ErrorFile, error_path, read_last_error
from avatar_telemetry.metrics.folder import OUR_FILES


def test_nothing_has_failed(tmp_path: Path) -> None:
    """Without a failure there is no file, and a success makes none."""
    errors = ErrorFile(tmp_path, "traces")
    errors.resolved()
    assert not errors.is_open
    assert read_last_error(tmp_path, "traces") is None
    assert list(tmp_path.iterdir()) == []


def test_a_failure_and_the_next_success(tmp_path: Path) -> None:
    """The file has the last failure until another one, and the time of the success after it."""
    errors = ErrorFile(tmp_path, "traces")
    errors.failed("first")
    errors.failed("second é")
    last = read_last_error(tmp_path, "traces")
    assert last is not None and last.message == "second é"
    assert errors.is_open and not last.resolved_at
    errors.resolved()
    last = read_last_error(tmp_path, "traces")
    assert last is not None and last.message == "second é"
    assert not errors.is_open and last.resolved_at >= last.at
    assert read_last_error(tmp_path, "logs") is None


def test_the_next_exporter_resolves_it(tmp_path: Path) -> None:
    """A failure of an exporter that has ended is resolved by the success of the next one."""
    ErrorFile(tmp_path, "metrics").failed("refused")
    following = ErrorFile(tmp_path, "metrics")
    assert following.is_open
    following.resolved()
    last = read_last_error(tmp_path, "metrics")
    assert last is not None and last.resolved_at


def test_the_file_is_private_and_ours(tmp_path: Path) -> None:
    """Other users cannot read it, the next server removes it, and a draft left is replaced."""
    draft = error_path(tmp_path, "logs").with_suffix(".new")
    draft.write_text("half")
    ErrorFile(tmp_path, "logs").failed("refused")
    path = error_path(tmp_path, "logs")
    assert path.stat().st_mode & 0o777 == 0o600
    assert OUR_FILES.fullmatch(path.name) and OUR_FILES.fullmatch(draft.name)
    assert not draft.exists()


def test_a_removed_directory(tmp_path: Path) -> None:
    """A failure that cannot be written is known to this exporter alone."""
    errors = ErrorFile(tmp_path / "gone", "traces")
    errors.failed("refused")
    assert errors.is_open


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"message": "x", "at": "now", "resolved_at": 0}', b"\xff"]
)
def test_an_unreadable_file(tmp_path: Path, content: bytes) -> None:
    """Whatever else is in the file counts as no failure."""
    error_path(tmp_path, "traces").write_bytes(content)
    assert read_last_error(tmp_path, "traces") is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in its place, which another user could have planted, is not read."""
    (tmp_path / "other").write_text('{"message": "x", "at": 1, "resolved_at": 0}')
    error_path(tmp_path, "traces").symlink_to(tmp_path / "other")
    assert read_last_error(tmp_path, "traces") is None
