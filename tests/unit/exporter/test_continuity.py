"""The state that one exporter leaves to the next: next push, starts of series, what arrived."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from avatar_telemetry.exporter.continuity import FILE_NAME, Continuity

SINCE, FIRST, SECOND, THIRD = 1_000, 2_000, 3_000, 4_000
"""Nanoseconds since the epoch."""
NOW = 1_700_000_000.0
INTERVAL = 60.0


def make(folder: Path, *, delta: bool = False) -> Continuity:
    """A process that takes over the pushes."""
    continuity = Continuity(folder, SINCE, delta=delta)
    continuity.load()
    return continuity


def test_first_push_is_due_at_once(tmp_path: Path) -> None:
    """Without an earlier exporter there is no push to count from."""
    assert make(tmp_path).next_due(INTERVAL) == 0.0


@pytest.mark.parametrize(
    ("age", "due"),
    [
        pytest.param(0.0, 60.0, id="just now"),
        pytest.param(20.0, 40.0, id="within the interval"),
        pytest.param(60.0, 0.0, id="an interval ago"),
        pytest.param(3600.0, 0.0, id="long ago"),
        pytest.param(-3600.0, 60.0, id="clock put back"),
    ],
)
def test_new_exporter_keeps_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, due: float
) -> None:
    """A new exporter pushes an interval after the last push of the previous one."""
    make(tmp_path).save()
    os.utime(tmp_path / FILE_NAME, (NOW - age, NOW - age))
    successor = make(tmp_path)
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert successor.next_due(INTERVAL) == due


@pytest.mark.parametrize("delta", [True, False])
def test_every_push_is_noted(tmp_path: Path, delta: bool) -> None:
    """The time of a push is kept, though no series is new."""
    first = make(tmp_path, delta=delta)
    os.utime(tmp_path / FILE_NAME, (NOW, NOW))
    first.save()
    assert (tmp_path / FILE_NAME).stat().st_mtime > NOW


@pytest.mark.parametrize(
    ("before", "now", "anew"),
    [
        pytest.param((5.0,), (5.0,), False, id="counter unchanged"),
        pytest.param((5.0,), (6.0,), False, id="counter grew"),
        pytest.param((5.0,), (4.0,), True, id="counter fell"),
        pytest.param((3.0, 1.0, -5.0), (4.0, 1.0, -7.0), False, id="negative sum of a histogram"),
        pytest.param((3.0, 1.0, 5.0), (3.0, 0.0, 6.0), True, id="bucket fell"),
        pytest.param((3.0, 1.0, 5.0), (3.0, 1.0, 1.0, 6.0), True, id="other buckets"),
    ],
)
@pytest.mark.parametrize("delta", [True, False])
def test_series_begins_anew_only_when_a_count_fell(
    tmp_path: Path, before: tuple[float, ...], now: tuple[float, ...], anew: bool, delta: bool
) -> None:
    """A count never falls; the sum of a histogram may. What begins anew has nothing sent yet."""
    continuity = make(tmp_path, delta=delta)
    continuity.reads(FIRST)
    assert continuity.mark("k", before).start == SINCE
    continuity.sent({"k": before})
    continuity.reads(SECOND)
    mark = continuity.mark("k", now)
    assert mark.start == (FIRST if anew or delta else SINCE)
    if delta:
        assert mark.values == ((0.0,) * len(now) if anew else before)


def test_cumulative_start_is_left_to_the_next_make(tmp_path: Path) -> None:
    """An exporter knows the start of each series of the previous one, and which came after it."""
    first = make(tmp_path)
    first.reads(FIRST)
    first.mark("old", (1.0,))
    first.save()
    second = make(tmp_path)
    second.reads(SECOND)
    assert second.mark("old", (1.0,)).start == SINCE
    assert second.mark("new", (1.0,)).start == FIRST


def test_arrived_increments_are_kept_before_the_push_ends(tmp_path: Path) -> None:
    """An exporter killed between two batches leaves what has arrived."""
    first = make(tmp_path, delta=True)
    first.reads(FIRST)
    first.sent({"k": (4.0,)})
    successor = make(tmp_path, delta=True)
    successor.reads(SECOND)
    mark = successor.mark("k", (6.0,))
    assert (mark.start, mark.values) == (FIRST, (4.0,))


def test_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The file is read by the user of the workers only, also after it was written anew."""
    make(tmp_path).save()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_a_link_in_place_of_the_state_is_refused(tmp_path: Path) -> None:
    """What another user put in the place of the file is neither read nor followed."""
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        make(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_file_is_written_anew_before_it_grows_too_big(tmp_path: Path) -> None:
    """Pushes for ever do not fill the memory that the folder is in."""
    continuity = Continuity(tmp_path, SINCE, delta=True)
    continuity.load()
    key = "k" * 60_000
    sizes = []
    for now in range(FIRST, FIRST + 50):
        continuity.reads(now)
        continuity.mark(key, (1.0,))
        continuity.sent({key: (1.0,)})
        continuity.save()
        sizes.append((tmp_path / "pushed.state").stat().st_size)
    assert max(sizes) < 2 << 20
    assert sizes != sorted(sizes)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b'{"read": 5000, "ser',
        b"[]\n",
        b"\xff\n",
        b"{}\n",
        b'{"series": {}, "read": 1e999}\n',
        pytest.param(b"[" * 200_000 + b"\n", id="nested"),
    ],
)
def test_unfinished_line(tmp_path: Path, rest: bytes) -> None:
    """A line that its writer did not finish is forgotten, the others stand."""
    continuity = Continuity(tmp_path, SINCE, delta=True)
    continuity.load()
    continuity.reads(FIRST)
    continuity.sent({"k": (4.0,)})
    with open(tmp_path / "pushed.state", "ab") as file:
        file.write(rest)
    for _ in range(2):
        continuity = Continuity(tmp_path, SINCE, delta=True)
        continuity.load()
        assert continuity.mark("k", (6.0,)).values == (4.0,)


def test_push_after_the_folder_was_removed(tmp_path: Path) -> None:
    """The state is written again where a cleaner took it, for the next exporter."""
    first = make(tmp_path)
    first.reads(FIRST)
    first.mark("k", (4.0,))
    first.save()
    (tmp_path / FILE_NAME).unlink()
    first.save()
    assert make(tmp_path).mark("k", (5.0,)).start == SINCE
