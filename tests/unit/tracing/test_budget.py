"""The budget that processes share: it holds over races, kills and forks."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.folder import OUR_FILES
from avatar_telemetry.tracing.budget import FILE_NAME, WORDS, Budget

NOW = 1000.5


def budget(folder: Path | None, slot: int = 0, now: float = NOW, **failures: list[str]) -> Budget:
    return Budget(folder, lambda: slot, Guard(failures.get("failures", []).append), lambda: now)


def take_all(budget: Budget, limit: int, attempts: int = 100) -> int:
    return sum(budget.take(limit) for _ in range(attempts))


def test_processes_share_the_tokens_of_a_second(tmp_path: Path) -> None:
    """A token that one takes is gone for the others; the next second has as many again."""
    first, second = budget(tmp_path, 0), budget(tmp_path, 3)
    assert first.take(2)
    assert second.take(2)
    assert not first.take(2)
    assert not second.take(2)
    assert take_all(second, 5) == 3
    assert take_all(budget(tmp_path, 1, NOW + 1), 7) == 7
    assert OUR_FILES.fullmatch(FILE_NAME)


def test_a_refusal_ends_with_its_second(tmp_path: Path) -> None:
    """The bucket is filled at each full second."""
    now = [NOW]
    own = Budget(tmp_path, lambda: 0, Guard(), lambda: now[0])
    assert take_all(own, 3) == 3
    now[0] = NOW + 0.499
    assert not own.take(3)
    now[0] = NOW + 0.5
    assert take_all(own, 3) == 3


def test_a_smaller_limit_leaves_tokens_for_a_larger_one(tmp_path: Path) -> None:
    """A refusal of the ratio is none of an error."""
    shared = budget(tmp_path)
    assert take_all(shared, 3) == 3
    assert not shared.take(3)
    assert take_all(shared, 5) == 2
    assert not shared.take(3)


def test_the_next_holder_of_a_slot_continues(tmp_path: Path) -> None:
    """A worker that replaces a killed one finds the tokens of this second taken."""
    assert take_all(budget(tmp_path, 2), 4) == 4
    assert take_all(budget(tmp_path, 2), 6) == 2


def fork() -> int:
    """Fork, beside any threads of the test runner."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_children(number: int, work: Callable[[int], int]) -> list[int]:
    """The results of forked children, each from 0 to 255, which begin when all are there."""
    gate, opened = os.pipe()
    children = []
    for each in range(number):
        child = fork()
        if child == 0:
            os.close(opened)
            os.read(gate, 1)
            os._exit(work(each))
        children.append(child)
    os.close(gate)
    os.close(opened)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_racing_processes_exceed_it_by_one_each(tmp_path: Path) -> None:
    """Real processes that take tokens of one second at once: none of them is lost, and there is at
    most one more for each other process."""
    taken = in_children(4, lambda slot: take_all(budget(tmp_path, slot), 100, 200))
    assert 100 <= sum(taken) <= 100 + 3
    assert not budget(tmp_path, 9).take(100)


def test_a_kill_leaves_the_budget_usable(tmp_path: Path) -> None:
    """A process that is killed while it takes tokens holds no lock."""
    ready, child_ready = os.pipe()
    child = fork()
    if child == 0:
        own = budget(tmp_path, 1)
        own.take(1 << 20)
        os.write(child_ready, b"1")
        while True:
            own.take(1 << 20)
    assert os.read(ready, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(child_ready)
    other = budget(tmp_path, 0)
    assert other.take(1 << 20)
    assert take_all(budget(tmp_path, 2, NOW + 1), 3) == 3


def test_threads_of_a_process_lose_no_token(tmp_path: Path) -> None:
    """The word of a process is written under its lock."""
    shared, taken = budget(tmp_path), []
    threads = [
        threading.Thread(target=lambda: taken.append(take_all(shared, 150))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 150


def test_a_forked_child_has_its_own_word(tmp_path: Path) -> None:
    """It claims another slot, and shares the budget with its parent."""
    slots = iter((4, 5))
    shared = Budget(tmp_path, lambda: next(slots), Guard(), lambda: NOW)
    assert shared.take(3)
    shared.forget()
    assert take_all(shared, 3) == 2
    words = memoryview((tmp_path / FILE_NAME).read_bytes()).cast("Q")
    assert [bool(words[slot]) for slot in (3, 4, 5)] == [False, True, True]


def test_a_removed_file_is_made_again(tmp_path: Path) -> None:
    """A cleaner that removes it does not separate the processes for longer than their check."""
    shared = budget(tmp_path)
    assert shared.take(9)
    shared.check()
    assert take_all(budget(tmp_path, 1), 9) == 8
    (tmp_path / FILE_NAME).unlink()
    shared.check()
    assert take_all(shared, 9) == 9
    assert not budget(tmp_path, 1).take(9)


def test_without_a_file_it_is_that_of_the_process(tmp_path: Path) -> None:
    """A file that cannot be made is an internal error; the process keeps a budget of its own."""
    failures: list[str] = []
    lost = budget(tmp_path / "gone", failures=failures)
    assert take_all(lost, 5) == 5
    assert failures == ["budget"]
    lost.check()
    assert take_all(budget(None), 5) == 5


def test_high_slots_share_words(tmp_path: Path) -> None:
    """A slot beyond the file counts in the word of another one."""
    assert take_all(budget(tmp_path, WORDS + 1), 3) == 3
    assert not budget(tmp_path, 1).take(3)


def test_a_foreign_file_is_not_used(tmp_path: Path) -> None:
    """A link that another user planted is not followed."""
    target = tmp_path / "target"
    target.touch()
    (tmp_path / FILE_NAME).symlink_to(target)
    failures: list[str] = []
    assert budget(tmp_path, failures=failures).take(1)
    assert failures == ["budget"]
    assert target.stat().st_size == 0


@pytest.mark.parametrize("now", [0.0, 1e9])
def test_any_clock(tmp_path: Path, now: float) -> None:
    """The time since the boot of the host is in the words."""
    assert take_all(budget(tmp_path, now=now), 3) == 3


@pytest.mark.parametrize("word", [2**64 - 1, int(NOW + 9) << 24])
def test_a_foreign_word_neither_fails_nor_lifts_the_limit(tmp_path: Path, word: int) -> None:
    """A word of another program, or of before the host started again, counts as empty."""
    (tmp_path / FILE_NAME).write_bytes(word.to_bytes(8, "little") * WORDS)
    failures: list[str] = []
    assert take_all(budget(tmp_path, failures=failures), 5) == 5
    assert not failures
