"""The rates and percentiles that follow from two pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.cli.rates import INFINITE, age, derive_state, quantile
from avatar_telemetry.cli.samples import EMPTY, Samples, read_samples

PAGE = """\
# TYPE ivatar_requests_total counter
ivatar_requests_total{method="GET",path="/",status_code="200"} 90.0
ivatar_requests_total{method="GET",path="/stats/",status_code="500"} 10.0
# TYPE ivatar_request_duration_seconds histogram
ivatar_request_duration_seconds_bucket{le="0.1",method="GET",path="/",status_code="200"} 90.0
ivatar_request_duration_seconds_bucket{le="+Inf",method="GET",path="/",status_code="200"} 90.0
ivatar_request_duration_seconds_bucket{le="0.1",method="GET",path="/stats/",status_code="500"} 0.0
ivatar_request_duration_seconds_bucket{le="1.0",method="GET",path="/stats/",status_code="500"} 10.0
ivatar_request_duration_seconds_bucket{le="+Inf",method="GET",path="/stats/",status_code="500"} 10.0
ivatar_avatar_cache_hits_total{size="80",format="png"} 3.0
ivatar_avatar_cache_misses_total{size="80",format="png"} 1.0
process_resident_memory_bytes{worker="10"} 1e6
process_resident_memory_bytes{worker="9"} 2e6
process_resident_memory_bytes{worker="master"} 3e6
process_start_time_seconds{worker="master"} 1000.0
process_start_time_seconds{worker="9"} 1010.0
"""


def read(page: str) -> Samples:
    samples = read_samples(page)
    assert samples is not None
    return samples


def test_a_look_is_put_together() -> None:
    """Rates are a second's, shares are of what was added, the slowest route comes first."""
    page = read(PAGE)
    seen = derive_state(page.minus(EMPTY), page, 10.0)
    assert seen == {**seen, "requests": 10.0, "errors": 0.1, "cache": 0.75}
    assert [route["path"] for route in seen["routes"]] == ["/stats/", "/"]
    assert seen["routes"][0]["errors"] == 1.0
    assert seen["routes"][1]["percentiles"][0] == pytest.approx(0.05)
    assert [worker["name"] for worker in seen["workers"]] == ["9", "10", "master"]


def test_nothing_added_is_shown_as_nothing() -> None:
    """Where nothing happened there are no percentiles, no cache ratio and no routes."""
    page = read(PAGE)
    seen = derive_state(page.minus(page), page, 1.0)
    assert (seen["requests"], seen["errors"], seen["cache"], seen["routes"]) == (0.0, 0.0, None, [])
    assert seen["percentiles"] == (None, None, None)


def test_the_age_of_the_server_is_its_oldest_process() -> None:
    """The time since the start is the master's, and never nothing."""
    assert age(read(PAGE), 1060.0) == 60.0
    assert age(EMPTY, 1060.0) == 1.0


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        pytest.param(0.5, {0.1: 10, 0.2: 20, INFINITE: 20}, 0.1, id="bound"),
        pytest.param(0.75, {0.1: 10, 0.2: 20, INFINITE: 20}, 0.15, id="inside"),
        pytest.param(0.99, {0.1: 10, INFINITE: 20}, 0.1, id="beyond"),
        pytest.param(0.5, {0.1: 0, INFINITE: 0}, None, id="nothing"),
        pytest.param(0.5, {}, None, id="no-buckets"),
        pytest.param(0.5, {0.1: 1, 0.2: 2}, None, id="no-infinity"),
        pytest.param(0.5, {0.1: 8, 0.2: 2, INFINITE: 10}, 0.0625, id="after-a-reset"),
    ],
)
def test_quantiles(share: float, buckets: dict[float, float], expected: float | None) -> None:
    """A quantile is that of Prometheus' ``histogram_quantile``."""
    found = quantile(share, buckets)
    assert found == (None if expected is None else pytest.approx(expected))


def test_outcomes_by_service_and_operation() -> None:
    """Each service and operation has its rate and the ratio of successes."""
    page = read(
        'ivatar_external_avatar_requests_total{service="gravatar",success="true"} 9\n'
        'ivatar_external_avatar_requests_total{service="gravatar",success="false"} 1\n'
        'ivatar_external_avatar_requests_total{service="other",success="true"} 0\n'
        'ivatar_external_avatar_request_seconds_bucket{service="gravatar",le="0.1"} 10\n'
        'ivatar_external_avatar_request_seconds_bucket{service="gravatar",le="+Inf"} 10\n'
        'ivatar_auth_attempts_total{operation="login",success="false"} 5\n'
        'ivatar_file_uploads_total{success="true"} 3\n'
        'ivatar_file_uploads_total{success="false"} 1\n'
    )
    seen = derive_state(page.minus(EMPTY), page, 10.0)
    assert seen["services"] == [
        {"name": "gravatar", "rate": 1.0, "success": 0.9, "p95": pytest.approx(0.095)}
    ]
    assert seen["operations"] == [{"name": "login", "rate": 0.5, "success": 0.0, "p95": None}]
    assert seen["uploads_success"] == 0.75


def test_the_telemetry_itself() -> None:
    """The exporter, its losses and the errors; what is not on the page is ``None``."""
    page = read(
        "avatar_telemetry_exporter_up 0\navatar_telemetry_folder_free_bytes 7\n"
        'avatar_telemetry_metric_pushes_total{result="failed"} 5\n'
        'avatar_telemetry_log_records_total{result="exported"} 10\n'
        'avatar_telemetry_internal_errors_total{where="ring"} 3\n'
        'gunicorn_worker_requests_in_progress{worker="0"} 2\n'
        'process_resident_memory_bytes{worker="0"} 1\n'
        'process_resident_memory_bytes{worker="master"} 1\n'
    )
    seen = derive_state(page.minus(page), page, 10.0)
    assert seen == {
        **seen, "exporter": False, "free_bytes": 7.0, "pushes": {"failed": 0.0},
        "log_records": {"exported": 0.0}, "internal_errors": 3.0, "new_internal_errors": 0.0,
        "series_refused": 0.0,
    }  # fmt: skip
    assert [worker["in_progress"] for worker in seen["workers"]] == [2.0, None]
    none = derive_state(EMPTY, EMPTY, 10.0)
    assert (none["exporter"], none["free_bytes"]) == (None, None)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12), st.floats(0, 1))
def test_a_quantile_lies_among_the_bounds(counts: list[int], share: float) -> None:
    """Whatever was counted, a quantile is neither below zero nor above the highest bound."""
    totals = [sum(counts[: place + 1]) for place in range(len(counts))]
    bounds = [*map(float, range(1, len(counts))), INFINITE]
    found = quantile(share, dict(zip(bounds, map(float, totals), strict=True)))
    assert (found is None) == (totals[-1] == 0)
    assert found is None or 0 <= found <= bounds[-2]


def test_numbers_of_a_look() -> None:
    """Counters are rates a second; gauges are as they are at the end."""
    page = read(
        'gunicorn_workers{state="busy"} 3.0\ngunicorn_workers{state="idle"} 5.0\n'
        "gunicorn_backlog 7.0\nivatar_requests_in_progress 4.0\nprocess_cpu_seconds_total 15.0\n"
        'avatar_telemetry_spans_total{result="exported"} 20.0\n'
        'avatar_telemetry_spans_total{result="dropped"} 0.0\n'
        "ivatar_avatar_requests_total 40.0\nivatar_avatars_generated_total 30.0\n"
        "ivatar_external_avatar_requests_total 10.0\nivatar_file_uploads_total 50.0\n"
        "ivatar_auth_attempts_total 60.0\n"
    )
    seen = derive_state(page.minus(EMPTY), page, 10.0)
    assert seen == {
        **seen, "busy": 3.0, "idle": 5.0, "backlog": 7.0, "in_progress": 4.0, "avatars": 4.0,
        "made": 3.0, "outside": 1.0, "uploads": 5.0, "attempts": 6.0, "cpu": 1.5,
        "spans": {"dropped": 0.0, "exported": 2.0},
    }  # fmt: skip
    later = derive_state(page.minus(page), page, 10.0)
    assert later == {**later, "cpu": 0.0, "busy": 3.0, "in_progress": 4.0}
