"""Each recording rule gives the number that its name promises, as Prometheus' test tool says."""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from pathlib import Path
from typing import Any

import pytest

from tests.support.promtool import (
    IDENTITY,
    Expectation,
    counter,
    histogram,
    native_histogram,
    rules,
    unit_test,
)

RECORDS = [rule["record"] for rule in rules() if "record" in rule]
AT = 30
STEP = 2.0**-20
"""Values are compared as multiples of this: nobody promises the last bit of a fraction."""
LATENCY = {"method": "GET", "status_code": "200", "path": "/avatar/{digest}"}
# Per minute: 54 avatars within half a second, 6 that fail after up to 1 s, 30 pages in 1 to 2.5 s.
FAILED = LATENCY | {"status_code": "500"}
Inputs = dict[str, str]
Histogram = Callable[..., Inputs]


def requests(histogram: Histogram) -> Inputs:
    page = {"method": "GET", "status_code": "200", "path": "/"}
    return (
        counter("ivatar_requests_total", 54, **LATENCY)
        | counter("ivatar_requests_total", 6, **FAILED)
        | counter("ivatar_requests_total", 30, **page)
        | histogram("ivatar_request_duration_seconds", 54, "0.5", **LATENCY)
        | histogram("ivatar_request_duration_seconds", 6, "1.0", **FAILED)
        | histogram("ivatar_request_duration_seconds", 30, "2.5", **page)
    )


def avatars(histogram: Histogram) -> Inputs:
    made = {"format": "png", "source": "generated"}
    return (
        counter("ivatar_avatar_requests_total", 45, status_code="200", size="80", format="png")
        | counter("ivatar_avatar_requests_total", 15, status_code="200", size="other", format="png")
        | counter("ivatar_avatar_cache_hits_total", 45, size="80", format="png")
        | counter("ivatar_avatar_cache_misses_total", 15, size="80", format="png")
        | counter("ivatar_avatars_generated_total", 15, size="80", **made)
        | histogram("ivatar_avatar_generation_seconds", 15, "2.5", **made)
    )


def actions(histogram: Histogram) -> Inputs:
    return (
        counter("ivatar_file_uploads_total", 9, content_type="image/png", success="true")
        | counter("ivatar_file_uploads_total", 3, content_type="other", success="false")
        | counter("ivatar_auth_attempts_total", 6, operation="login", success="true")
        | counter("ivatar_auth_attempts_total", 6, operation="login", success="false")
        | counter("ivatar_external_avatar_requests_total", 3, service="gravatar", success="true")
        | counter("ivatar_external_avatar_requests_total", 9, service="gravatar", success="false")
        | histogram("ivatar_external_avatar_request_seconds", 12, "2.5", service="gravatar")
    )


def inputs(histogram: Histogram) -> Inputs:
    """All series, with histograms of one kind."""
    return requests(histogram) | avatars(histogram) | actions(histogram)


HISTOGRAMS = pytest.mark.parametrize("kind", [histogram, native_histogram])
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def quantile(share: float, lower: float, upper: float) -> float:
    """Where a quantile is that lies this far within one bucket."""
    return lower + share * (upper - lower)


# Of 90 requests 54 end in the bucket to 0.5 s, 6 in that to 1 s, and 30 in that to 2.5 s.
EXPECTED: dict[str, dict[str, float]] = {
    "job:ivatar_requests:rate5m": {"": 1.5},
    "job_path:ivatar_requests:rate5m": {"path=/avatar/{digest}": 1.0, "path=/": 0.5},
    "job:ivatar_request_errors:ratio_rate5m": {"": 6 / 90},
    "job_path:ivatar_request_errors:ratio_rate5m": {"path=/avatar/{digest}": 0.1, "path=/": 0.0},
    "job:ivatar_request_duration_seconds:p50_rate5m": {"": quantile(45 / 54, 0.25, 0.5)},
    "job:ivatar_request_duration_seconds:p95_rate5m": {"": quantile(25.5 / 30, 1.0, 2.5)},
    "job:ivatar_request_duration_seconds:p99_rate5m": {"": quantile(29.1 / 30, 1.0, 2.5)},
    "job_path:ivatar_request_duration_seconds:p95_rate5m": {
        "path=/avatar/{digest}": quantile(3 / 6, 0.5, 1.0), "path=/": quantile(0.95, 1.0, 2.5),
    },
    "job:ivatar_avatar_requests:per_minute": {"": 60.0},
    "job_size:ivatar_avatar_requests:ratio_rate1h": {"size=80": 0.75, "size=other": 0.25},
    "job:ivatar_avatar_cache_lookups:rate5m": {"": 1.0},
    "job:ivatar_avatar_cache_hits:ratio_rate5m": {"": 0.75},
    "job:ivatar_avatars_generated:rate5m": {"": 0.25},
    "job:ivatar_avatar_generation_seconds:p50_rate5m": {"": quantile(0.5, 1.0, 2.5)},
    "job:ivatar_avatar_generation_seconds:p95_rate5m": {"": quantile(0.95, 1.0, 2.5)},
    "job:ivatar_avatar_generation_seconds:p99_rate5m": {"": quantile(0.99, 1.0, 2.5)},
    "job:ivatar_file_uploads:rate5m": {"": 0.2},
    "job:ivatar_file_uploads_success:ratio_rate5m": {"": 0.75},
    "job_operation:ivatar_auth_attempts:rate5m": {"operation=login": 0.2},
    "job_operation:ivatar_auth_success:ratio_rate5m": {"operation=login": 0.5},
    "job_service:ivatar_external_avatar_requests:rate5m": {"service=gravatar": 0.2},
    "job_service:ivatar_external_avatar_success:ratio_rate5m": {"service=gravatar": 0.25},
    "job_service:ivatar_external_avatar_request_seconds:p95_rate5m": {
        "service=gravatar": quantile(0.95, 1.0, 2.5),
    },
    **{f"job:ivatar_slo_availability:errors_ratio_rate{window}": {"": 6 / 90}
       for window in WINDOWS},
    **{f"job:ivatar_slo_latency:errors_ratio_rate{window}": {"": 0.1} for window in WINDOWS},
}  # fmt: skip


def samples(values: dict[str, float]) -> list[dict[str, Any]]:
    found = []
    for label, value in values.items():
        name, _, text = label.partition("=")
        own = f',{name}="{text}"' if name else ""
        found.append({"labels": f"{{{IDENTITY}{own}}}", "value": floor(value / STEP + 0.5) * STEP})
    return found


def rounded(record: str) -> str:
    return f"round({record}, {STEP:.20f})"


def flat(inputs: Inputs) -> Inputs:
    """The same series without any traffic."""
    return {name: f"{values.partition('+')[0]}x120" for name, values in inputs.items()}


@HISTOGRAMS
def test_each_gives_what_its_name_promises(kind: Histogram, tmp_path: Path) -> None:
    """Rates are per second, per_minute is per minute, ratios lie between 0 and 1.

    Native histograms give the same values as classic ones.
    """
    assert set(EXPECTED) == set(RECORDS)
    wanted = {rounded(record): samples(values) for record, values in EXPECTED.items()}
    unit_test(tmp_path, Expectation("load", inputs(kind), AT, wanted))


@HISTOGRAMS
def test_without_traffic_there_is_no_ratio(kind: Histogram, tmp_path: Path) -> None:
    """A ratio of nothing to nothing is missing; a rate is zero."""
    rate = "job:ivatar_requests:rate5m"
    wanted: dict[str, list[dict[str, Any]]] = {rounded(rate): samples({"": 0.0})}
    wanted |= {record: [] for record in RECORDS if "ratio_" in record}
    unit_test(tmp_path, Expectation("no traffic", flat(inputs(kind)), AT, wanted))


def test_one_side_alone_is_a_ratio(tmp_path: Path) -> None:
    """Before the first hit the ratio is 0, before the first miss 1."""
    record = "job:ivatar_avatar_cache_hits:ratio_rate5m"
    unit_test(tmp_path, *(
        Expectation(
            only, counter(f"ivatar_avatar_cache_{only}_total", 60, size="80", format="png"), AT,
            {rounded(record): samples({"": ratio})},
        )
        for only, ratio in (("hits", 1.0), ("misses", 0.0))
    ))  # fmt: skip
