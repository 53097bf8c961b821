"""The instruments: what is written, and the ceiling above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_telemetry.metrics import instruments as contract
from avatar_telemetry.metrics.instruments import (
    INSTRUMENTS,
    REQUESTS,
    UPLOAD_SIZE,
    Instrument,
)
from avatar_telemetry.metrics.mapped import Book, value_class
from avatar_telemetry.metrics.metrics import MAX_PLANS, Metrics
from tests.support.paths import DOCS
from tests.support.recorder import Recorder

LABELS = ("GET", "200", "/avatar/{digest}", "80", "png", "miss", "generated")


def test_all_instruments_are_listed_and_described() -> None:
    """Every instrument is in the list, and has its paragraph in the documentation."""
    declared = [each for each in vars(contract).values() if isinstance(each, Instrument)]
    assert set(declared) == set(INSTRUMENTS)
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    for each in INSTRUMENTS:
        suffix = "_total" if each.type == "counter" else ""
        assert each.name + suffix in text


def test_a_request_is_written_at_once(recorder: Recorder) -> None:
    """One finished request is in every instrument that it concerns, once."""
    recorder.metrics.started(0.0)
    assert recorder.value("ivatar_requests_in_progress") == 1
    recorder.metrics.finished(recorder.metrics.plan(LABELS), 0.2, 0.0009)
    assert recorder.value("ivatar_requests_in_progress") == 0
    for name in (
        "ivatar_requests_total", "ivatar_avatar_requests_total", "ivatar_avatar_cache_misses_total",
        "ivatar_avatars_generated_total", "ivatar_request_duration_seconds_count",
        "ivatar_request_first_byte_seconds_count", "ivatar_avatar_generation_seconds_count",
    ):  # fmt: skip
        assert recorder.value(name) == 1, name
    assert recorder.value("ivatar_avatar_cache_hits_total") == 0
    assert recorder.value("ivatar_request_duration_seconds_sum") == 0.2
    assert recorder.value("ivatar_request_duration_seconds_bucket", le="0.1") == 0
    assert recorder.value("ivatar_request_duration_seconds_bucket", le="0.25") == 1
    assert recorder.value("ivatar_request_first_byte_seconds_bucket", le="0.001") == 1


@pytest.mark.parametrize(
    ("value", "bound"), [(1024.0, "1024.0"), (1024.5, "4096.0"), (1e12, "+Inf")]
)
def test_buckets_include_their_bound(recorder: Recorder, value: float, bound: str) -> None:
    """A value falls into the first bucket whose bound is not below it."""
    recorder.metrics.observe(UPLOAD_SIZE, value, "image/png")
    name = "ivatar_file_upload_size_bytes_bucket"
    first = [dict(labels)["le"] for (sample, labels), count in recorder.samples().items()
             if sample == name and count]  # fmt: skip
    assert min(first, key=float) == bound


def test_beyond_the_ceiling_labels_become_other(tmp_path: Path) -> None:
    """As many series as the ceiling allows are made, and not one more; new combinations are counted
    as other and as refused, known ones go on."""
    recorder = Recorder(tmp_path)
    recorder.metrics = Metrics(recorder.book, recorder.book.series + 3)
    count = recorder.metrics.count
    for number in range(50):
        count(REQUESTS, "GET", "200", f"/{number}")
    count(REQUESTS, "GET", "200", "/0")
    total = recorder.value("ivatar_requests_total")
    assert total == 51, "nothing that was counted is lost"
    assert recorder.value("ivatar_requests_total", path="/0") == 2
    made = recorder.labels("ivatar_requests_total")
    assert [each["path"] for each in made if each["method"] == "GET"] == ["/0", "/1", "/2"]
    folded = {"method": "other", "path": "other", "status_code": "200"}
    assert recorder.value("ivatar_requests_total", **folded) >= 46
    refused = recorder.value("avatar_telemetry_series_refused_total", metric="ivatar_requests")
    assert refused >= 46
    recorder.book.detach()


def test_series_of_the_last_holder_count_against_the_ceiling(tmp_path: Path) -> None:
    """A slot that is taken over brings its series with it, and may use them."""
    first = Recorder(tmp_path)
    for number in range(200):
        first.metrics.count(REQUESTS, "GET", "200", str(number))
    first.book.detach()
    book = Book()
    book.open(tmp_path, "0")
    metrics = Metrics(book, 100)
    metrics.count(REQUESTS, "GET", "200", "7")
    metrics.count(REQUESTS, "GET", "200", "new")
    book.detach()
    assert first.value("ivatar_requests_total", path="7") == 2
    assert first.value("ivatar_requests_total", path="new") == 0


def test_series_of_the_application_do_not_count_against_the_ceiling(tmp_path: Path) -> None:
    """However many it makes, our own instruments have the whole ceiling, also in the next holder of
    the slot."""
    for holder in range(2):
        book = Book()
        book.open(tmp_path, "0")
        make = value_class(book)
        for number in range(200):
            make("counter", "app", "app_total", ["n"], [str(number)], "The application's.")
        metrics = Metrics(book, 100)
        metrics.count(REQUESTS, "GET", "200", f"/{holder}")
        book.detach()
    recorder = Recorder(tmp_path)
    for holder in range(2):
        assert recorder.value("ivatar_requests_total", path=f"/{holder}") == 1
    assert recorder.value("avatar_telemetry_series_refused_total") == 0
    recorder.book.detach()


def test_what_a_client_can_make_us_remember_is_bounded(recorder: Recorder) -> None:
    """Resolved combinations are forgotten before they fill the memory; counts stay right."""
    wanted = MAX_PLANS + 10
    for number in range(wanted):
        recorder.metrics.started(0.0)
        plan = recorder.metrics.plan((*LABELS[:3], str(number), "png", "", ""))
        recorder.metrics.finished(plan, 0.1, 0.1)
    assert len(recorder.metrics._plans) <= MAX_PLANS
    assert recorder.value("ivatar_requests_total") == wanted


def test_files_are_looked_after_once_a_second() -> None:
    """A request within the second after another one costs no look at the disk."""
    times: list[None] = []
    book = Book()
    metrics = Metrics(book, 1000, lambda: times.append(None))
    for now, expected in ((10.0, 1), (10.9, 1), (11.0, 2), (11.5, 2)):
        metrics.started(now)
        assert len(times) == expected
    book.detach()
