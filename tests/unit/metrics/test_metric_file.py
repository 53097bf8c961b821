"""Reading a metric file that its process goes on writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avatar_telemetry.metrics.mapped import CorruptFileError, MappedFile, encode_key
from avatar_telemetry.metrics.metric_file import Contents


def test_a_file_that_grows_after_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header never counts more bytes than the size that the reader takes."""
    path = tmp_path / "counter_0.db"
    file = MappedFile(path)
    opened_size = path.stat().st_size
    pread = os.pread

    def grow_and_read(descriptor: int, size: int, offset: int) -> bytes:
        while path.stat().st_size == opened_size:
            file.cell(encode_key("m", "m_total", {"a": str(len(file.cells))}, ""))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", grow_and_read)
    contents = Contents.read(path)
    file.close()
    assert len(contents.data) > opened_size


@pytest.mark.parametrize(
    ("size", "error"),
    [
        pytest.param(0, FileNotFoundError, id="new"),
        pytest.param(7, CorruptFileError, id="cut off"),
    ],
)
def test_a_file_without_a_header(tmp_path: Path, size: int, error: type[Exception]) -> None:
    """An empty file has just been created; one that ends inside its header is refused."""
    path = tmp_path / "counter_0.db"
    path.write_bytes(bytes(size))
    with pytest.raises(error):
        Contents.read(path)
