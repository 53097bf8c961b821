"""The records of exemplars: what a reader takes from them, however far a store has come."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avatar_telemetry.metrics.exemplars import (
    NO_PLACE,
    SIZES,
    Kind,
    intact_record,
    pack_labels,
    pack_trace,
    unpack,
)
from avatar_telemetry.metrics.family import MAX_EXEMPLAR_LENGTH, Exemplar, make_exemplar
from avatar_telemetry.metrics.mapped import Book

TRACE, SPAN = bytes(range(16)), bytes(range(16, 24))
TIME = 1_500_000_000
TRACED = pack_trace(TRACE, SPAN, 0.25, TIME), pack_trace(SPAN * 2, TRACE[:8], 0.5, TIME + 1)
LABELLED = tuple(
    record
    for text in ("short", "a longer one")
    if (record := pack_labels(Exemplar((("user", text),), 2.0, 1e9)))
)


def test_a_trace_comes_back() -> None:
    """The ids are labels in hexadecimal, in the order of names."""
    record = intact_record("traces", TRACED[0], 0)
    assert record is not None
    labels = ("span_id", SPAN.hex()), ("trace_id", TRACE.hex())
    assert unpack("traces", record) == Exemplar(labels, 0.25, 1.5)
    assert len(TRACED[0]) == SIZES["traces"]


@pytest.mark.parametrize(("kind", "records"), [("traces", TRACED), ("labels", LABELLED)])
def test_a_record_is_whole_or_not_there(kind: Kind, records: tuple[bytes, bytes]) -> None:
    """A writer that was killed at any byte leaves one of two exemplars or none, never a mix."""
    size = SIZES[kind]
    before, after = records
    whole = {intact_record(kind, each, 0) for each in records}
    assert None not in whole and len(whole) == 2
    for number in range(size + 1):
        for torn in (after[:number] + before[number:], after[:number] + bytes(size - number)):
            assert intact_record(kind, torn, 0) in {*whole, None}
            if 0 < number < 16:  # within the checksum or the time
                assert intact_record(kind, torn, 0) is None


@pytest.mark.parametrize("kind", SIZES)
def test_an_empty_record_is_none(kind: Kind) -> None:
    """A new entry has no exemplar until its first store; a wrong length reads nothing else."""
    assert intact_record(kind, bytes(SIZES[kind]), 0) is None
    assert intact_record(kind, b"\xff" * SIZES[kind], 0) is None


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,7}", fullmatch=True)


@example({"a": "x" * 127}, 1.0)
@example({"a": "x" * 128}, 1.0)
@given(st.dictionaries(NAMES, st.text(max_size=40), max_size=4), st.floats(allow_nan=False))
def test_labels_of_the_application_come_back(labels: dict[str, str], value: float) -> None:
    """Any text survives, within the length that OpenMetrics allows."""
    exemplar = make_exemplar(labels, value, 12.5)
    length = sum(len(name) + len(text) for name, text in labels.items())
    assert (exemplar is None) == (length > MAX_EXEMPLAR_LENGTH)
    if exemplar is not None:
        record = pack_labels(exemplar)
        assert record is not None
        found = intact_record("labels", record, 0)
        assert found is not None
        assert unpack("labels", found) == exemplar


def test_labels_that_fill_more_than_a_record_are_left_out() -> None:
    """128 labels of one character would not fit with their marks: no exemplar, no error."""
    labels = tuple((f"{chr(0x4E00 + number)}", "") for number in range(128))
    assert pack_labels(Exemplar(labels, 1.0, 1.0)) is None


def test_files_are_opened_again_after_a_lack_of_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no exemplars until then, and none is an error."""
    book = Book()
    book.open(tmp_path, "0")

    def fail(kind: str) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch, book.lock:
        patch.setattr(book, "_open_exemplars", fail)
        assert book.exemplar_place("traces", "key") is NO_PLACE
        assert book.exemplar_place("traces", "key") is NO_PLACE
    assert book.short
    assert book.recover()
    with book.lock:
        assert book.exemplar_place("traces", "key") is not NO_PLACE
    assert not book.short
    book.detach()
