"""One process of a host does the duties; another takes over when it ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from avatar_telemetry.export import leader as leader_module
from avatar_telemetry.export.leader import Leader
from avatar_telemetry.guard import Guard
from avatar_telemetry.store.slots import LEADER_LOCK, is_led, try_lead
from tests.support.descriptors import open_below
from tests.support.waiting import DEADLINE, eventually


class Duty:
    """A duty that keeps what was asked of it.

    Args:
        fails: how often its work fails before it goes on.
    """

    def __init__(self, fails: int = 0) -> None:
        self.calls: list[str] = []
        self._fails = fails

    def work(self, stopped: Event) -> None:
        self.calls.append("work")
        if self._fails:
            self._fails -= 1
            raise OSError("port in use")
        stopped.wait()

    def finish(self) -> None:
        self.calls.append("finish")

    def settle(self, deadline: float) -> None:
        self.calls.append("settle")

    def forget(self) -> None:
        self.calls.append("forget")


class Workers:
    """The workers of a host, which wait to lead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.tries = 0
        self._leaders: list[Leader] = []

    def start(self, *duties: Duty) -> Leader:
        leader = Leader(self.folder, duties, Guard(self.failures.append))
        self._leaders.append(leader)
        leader.start()
        return leader

    def try_lead(self, folder: Path) -> int | None:
        """Take the leader lock, if it is free."""
        self.tries += 1
        return try_lead(folder)

    def end(self, leader: Leader) -> None:
        """End a worker; the leader lock goes with its process."""
        self._leaders.remove(leader)
        leader.stop()
        leader.join(DEADLINE)
        leader.forget()

    def end_all(self) -> None:
        for leader in [*self._leaders]:
            self.end(leader)


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setattr(leader_module, "POLL_INTERVAL", 0.01)
    workers = Workers(tmp_path)
    monkeypatch.setattr(leader_module, "try_lead", workers.try_lead)
    yield workers
    workers.end_all()
    assert not [each for each in threading.enumerate() if "leader" in each.name]


def test_one_leads_and_the_next_takes_over(workers: Workers) -> None:
    """Duties are done by one process of a host, and by another one after its end."""
    first, second = Duty(), Duty()
    leader = workers.start(first)
    eventually(lambda: first.calls, "the first leader's work")
    assert is_led(workers.folder)
    before = workers.tries
    workers.start(second)
    eventually(lambda: workers.tries >= before + 3 or second.calls, "the second leader's tries")
    assert second.calls == []
    workers.end(leader)
    eventually(lambda: second.calls, "the second leader's work")
    assert first.calls == ["work", "forget"]


def test_failed_duty_is_counted_and_tried_again(workers: Workers) -> None:
    """A port in use is tried again, and no other duty waits for it."""
    failing, other = Duty(fails=2), Duty()
    workers.start(failing, other)
    eventually(lambda: len(failing.calls) == 3 and other.calls, "the third try")
    assert workers.failures == ["leader", "leader"]
    assert other.calls == ["work"]


def test_last_process_finishes_what_is_left(workers: Workers) -> None:
    """Without a successor the duties are finished before the end of the process."""
    duty = Duty()
    leader = workers.start(duty)
    eventually(lambda: duty.calls, "the work")
    leader.stop(finish=True)
    leader.wait(time.monotonic() + DEADLINE)
    assert duty.calls == ["work", "finish"]


def test_process_with_a_successor_only_waits_for_what_is_on_the_way(workers: Workers) -> None:
    """With a successor nothing is finished, but what is being sent is waited for."""
    duty = Duty()
    leader = workers.start(duty)
    eventually(lambda: duty.calls, "the work")
    leader.stop()
    leader.wait(time.monotonic() + DEADLINE)
    leader.join(DEADLINE)
    assert duty.calls == ["work", "settle"]


def test_folder_that_is_gone_is_a_counted_failure(workers: Workers) -> None:
    """Without its folder a process does not lead, and goes on trying."""
    workers.folder.rmdir()
    duty = Duty()
    workers.start(duty)
    eventually(lambda: len(workers.failures) > 2, "the failures")
    assert duty.calls == []


def test_leader_whose_lock_is_removed_leads_again(workers: Workers) -> None:
    """Its duties end, its lock without a name is closed, and it takes the new one."""
    duty = Duty()
    workers.start(duty)
    eventually(lambda: duty.calls, "the work")
    (workers.folder / LEADER_LOCK).unlink()
    eventually(lambda: duty.calls == ["work", "work"], "the work under the new lock")
    assert open_below(workers.folder) == [LEADER_LOCK]


@pytest.mark.usefixtures("as_root")
def test_worker_that_is_still_root_does_not_lead(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock file of root's would be closed to the workers, whose user owns the folder."""
    os.chown(workers.folder, 65_534, 65_534)
    user, asked, duty = [0], [], Duty()

    def getuid() -> int:
        asked.append(None)
        return user[0]

    monkeypatch.setattr(os, "getuid", getuid)
    workers.start(duty)
    eventually(lambda: len(asked) > 2, "the wait for the other user")
    assert workers.tries == 0
    user[0] = 65_534
    eventually(lambda: duty.calls, "the work")
