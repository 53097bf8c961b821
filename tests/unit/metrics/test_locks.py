"""Locks whose files are removed or replaced, and identifiers that are no pids."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client.multiprocess import mark_process_dead

from avatar_telemetry._base import files as files_module
from avatar_telemetry._base.files import is_at_path, lock_own, open_own
from avatar_telemetry.metrics.slots import (
    EXPORTER_LOCK,
    claim_slot,
    remove_live_gauges,
    slot_identifier,
)
from tests.support.holders import Holders


def test_the_identifier_of_a_slot_is_no_pid(workers: Holders) -> None:
    """The documented hook of prometheus_client, called with any pid, removes no slot's gauges."""
    for slot in workers.start(2):
        (workers.folder / f"gauge_livesum_{slot_identifier(slot)}.db").touch()
        mark_process_dead(slot, str(workers.folder))
    assert len(list(workers.folder.glob("gauge_livesum_*.db"))) == 2
    remove_live_gauges(workers.folder, 0)
    assert len(list(workers.folder.glob("gauge_livesum_*.db"))) == 1


def test_a_removed_lock_is_noticed(tmp_path: Path) -> None:
    """An exporter whose lock file a cleaner has removed notices that another one may run."""
    path = tmp_path / EXPORTER_LOCK
    first = lock_own(path)
    assert first is not None
    assert is_at_path(first, path)
    path.unlink()
    second = lock_own(path)
    assert second is not None
    assert not is_at_path(first, path)
    os.close(first)
    os.close(second)


def test_a_removed_slot_lock_frees_no_slot(workers: Holders) -> None:
    """Nobody writes into the files of a living holder whose lock file a cleaner has removed."""
    held = workers.start(2)
    for path in workers.folder.glob("slot-*.lock"):
        path.unlink()
    assert sorted(workers.start(2)) == [2, 3]
    workers.kill(held[0])
    assert sorted(workers.start(1)) == [0]


def test_a_lock_that_is_replaced_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock that counts is that of the file which has the path in the end."""
    path = tmp_path / EXPORTER_LOCK
    opened = []

    def open_and_replace(*args: object) -> int:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        if not opened:
            path.unlink()
            path.touch()
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(files_module, "open_own", open_and_replace)
    lock = lock_own(path)
    assert len(opened) == 2
    assert lock is not None
    assert is_at_path(lock, path)
    os.close(lock)


def test_an_odd_file_costs_its_slot_only(tmp_path: Path) -> None:
    """Where the file of a slot's counters cannot be one, the next slot is taken."""
    (tmp_path / "counter_s0.db").mkdir()
    slot = claim_slot(tmp_path)
    assert slot.number == 1
    slot.close()
