"""Slots: locks of real processes, freed by real deaths."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from avatar_telemetry._base.files import lock_own
from avatar_telemetry.metrics import slots as slots_module
from avatar_telemetry.metrics.slots import (
    EXPORTER_LOCK,
    claim_again,
    claim_slot,
    clear_dead_gauges,
    has_exporter,
    holders,
    last_holders,
    remove_live_gauges,
)
from tests.support.descriptors import open_below
from tests.support.holders import Holders
from tests.support.waiting import DEADLINE


def test_slots_are_dense_and_never_shared(workers: Holders) -> None:
    """Processes that claim at the same time get the lowest numbers, each its own."""
    held = workers.start(8)
    assert sorted(held) == list(range(8))
    assert [(each.slot, each.pid) for each in holders(workers.folder)] == sorted(held.items())


def test_the_kernel_frees_the_slot_of_a_killed_process(workers: Holders) -> None:
    """The next one takes the lowest free slot; a dead holder is no holder."""
    held = workers.start(4)
    workers.kill(held[1])
    workers.kill(held[2])
    assert [each.slot for each in holders(workers.folder)] == [0, 3]
    assert sorted(workers.start(3)) == [1, 2, 4]


def test_live_gauges_are_cleared_for_the_dead_only(workers: Holders) -> None:
    """The master removes what a dead worker had in progress, and nothing of a living one."""
    held = workers.start(2)
    for slot in held:
        (workers.folder / f"gauge_livesum_s{slot}.db").touch()
        (workers.folder / f"gauge_all_s{slot}.db").touch()
    clear_dead_gauges(workers.folder, held[0])
    assert (workers.folder / "gauge_livesum_s0.db").exists(), "it lives"
    workers.kill(held[0])
    clear_dead_gauges(workers.folder, held[0])
    left = sorted(path.name for path in workers.folder.glob("gauge*"))
    assert left == ["gauge_all_s0.db", "gauge_all_s1.db", "gauge_livesum_s1.db"]
    remove_live_gauges(workers.folder, 1)
    assert not (workers.folder / "gauge_livesum_s1.db").exists()


def test_a_slot_that_was_taken_again_is_not_cleared(workers: Holders) -> None:
    """The master may hear of a death when the next holder has already begun."""
    dead = workers.start(1)[0]
    workers.kill(dead)
    workers.start(1)
    (workers.folder / "gauge_livesum_s0.db").touch()
    clear_dead_gauges(workers.folder, dead)
    assert (workers.folder / "gauge_livesum_s0.db").exists()


def test_running_exporter_is_found_without_keeping_the_lock(tmp_path: Path) -> None:
    """Only one holds the lock; a scrape looks for it, and the next exporter can start."""
    assert not has_exporter(tmp_path)
    lock = lock_own(tmp_path / EXPORTER_LOCK)
    assert lock is not None
    assert has_exporter(tmp_path)
    os.close(lock)
    assert not has_exporter(tmp_path)


def test_the_last_holder_is_known_after_its_death(workers: Holders) -> None:
    """The name of a dead process stands until the next holder writes its own."""
    pid = workers.start(1)[0]
    workers.kill(pid)
    assert [(each.slot, each.pid) for each in last_holders(workers.folder)] == [(0, pid)]
    assert holders(workers.folder) == []


@pytest.mark.parametrize("record", [b"", b"[", b"{}", b"[1]", b'["x", 1]', b"\xff"])
def test_a_record_that_cannot_be_read_is_no_holder(tmp_path: Path, record: bytes) -> None:
    """A slot file cut off by a full disk names nobody, and the slot can be taken."""
    (tmp_path / "slot-0.lock").write_bytes(record)
    assert last_holders(tmp_path) == []
    slot = claim_slot(tmp_path)
    assert slot.number == 0
    slot.close()


def test_a_slot_that_is_held_costs_no_descriptor(tmp_path: Path) -> None:
    """Descriptors of slots that were tried and are another's are closed."""
    slots = [claim_slot(tmp_path) for _ in range(4)]
    assert [slot.number for slot in slots] == [0, 1, 2, 3]
    names = [f"counter_s{number}.db" for number in range(4)]
    names += [f"slot-{number}.lock" for number in range(4)]
    assert open_below(tmp_path) == names
    for slot in slots:
        slot.close()


def test_a_slot_that_is_just_being_freed_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may free the lock of a dead holder a moment later; the next number would add
    files for good."""
    path = tmp_path / "slot-0.lock"
    path.write_text(json.dumps([os.getpid(), 1]))  # a process that had this pid before
    lock = os.open(path, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waits: list[None] = []

    def pause() -> None:
        waits.append(None)
        if len(waits) == 3:
            os.close(lock)

    monkeypatch.setattr(slots_module, "_pause", pause)
    slot = claim_slot(tmp_path)
    assert (slot.number, len(waits)) == (0, 3)
    slot.close()


def test_a_slot_of_a_living_holder_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start of a worker takes no longer for each worker that is there."""
    first = claim_slot(tmp_path)
    monkeypatch.setattr(slots_module, "_pause", lambda: pytest.fail("it waits"))
    second = claim_slot(tmp_path)
    assert (first.number, second.number) == (0, 1)
    for slot in (first, second):
        slot.close()


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent, json, os, sys
from pathlib import Path
from avatar_telemetry._base.files import lock_own
from avatar_telemetry.metrics.slots import claim_slot

folder = Path(sys.argv[1])
lock = lock_own(folder / "slot-0.lock")
os.pwrite(lock, json.dumps([os.getpid(), 1]).encode(), 0)  # a dead process of the same pid
ran = []
gevent.spawn(ran.append, "another greenlet")
assert claim_slot(folder).number == 1
assert not ran, ran
"""


def test_no_greenlet_runs_while_a_slot_is_waited_for(tmp_path: Path) -> None:
    """In a forked child the other greenlets are copies of the server's, which would accept its
    connections."""
    subprocess.run([sys.executable, "-c", GREENLETS, str(tmp_path)], check=True, timeout=DEADLINE)


def test_descriptors_that_run_out_end_the_search(tmp_path: Path) -> None:
    """A worker at its limit of open files makes no lock files without end."""
    first = claim_slot(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(tmp_path, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            claim_slot(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list(tmp_path.glob("slot-*.lock"))) <= 2
    first.close()


def test_the_search_for_a_slot_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of whose slots none can be taken is an error, not an endless search."""
    monkeypatch.setattr(slots_module, "MAX_SLOTS", 3)
    monkeypatch.setattr(slots_module, "_try_claim", lambda *arguments: None)
    with pytest.raises(OSError, match="none of 3 slots"):
        slots_module.claim_slot(tmp_path)


def test_a_removed_lock_of_a_slot_is_made_anew(tmp_path: Path) -> None:
    """The holder keeps its slot, is known again, and closes the lock without a name."""
    slot = claim_slot(tmp_path)
    (tmp_path / "slot-0.lock").unlink()
    renewed = claim_again(tmp_path, slot)
    assert renewed is not None
    assert renewed.is_safe(tmp_path)
    assert [holder.pid for holder in holders(tmp_path)] == [os.getpid()]
    assert open_below(tmp_path) == ["counter_s0.db", "slot-0.lock"]
    renewed.close()
