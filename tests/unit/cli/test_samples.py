"""The samples of a metrics page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.cli.samples import EMPTY, Samples, read_samples

PAGE = """\
# TYPE requests_total counter
requests_total{path="/",status="200"} 90.0
requests_total{path="/stats/",status="200"} 6.0
requests_total{path="/stats/",status="500"} 4.0
requests_total{status="200"} 1.0
# TYPE build_info gauge
build_info{version="1.2"} 1.0
"""


def read(page: str) -> Samples:
    samples = read_samples(page)
    assert samples is not None
    return samples


def test_totals_by_labels() -> None:
    """A total is over all series that bear the labels, whatever others they have."""
    page = read(PAGE)
    assert page.total("requests_total") == 101.0
    assert page.total("requests_total", status="200") == 97.0
    assert page.total("requests_total", path="/stats/", status="200") == 6.0
    assert page.total("requests_total", path="/none/") == page.total("none") == 0.0


def test_errors_are_those_of_the_server() -> None:
    """A 404 is a response; only requests with a 5xx status are errors."""
    codes = (200, 404, 500, 503)
    page = "".join(f'ivatar_requests_total{{path="/",status_code="{code}"}} 1\n' for code in codes)
    assert read(page).errors() == 2.0


def test_samples_by_a_label() -> None:
    """The parts have all metrics with the label; series without it are in none."""
    parts = read(PAGE + 'seconds{path="/",le="1"} 7\n').split("path")
    assert list(parts) == ["/", "/stats/"]
    assert parts["/"].total("requests_total") == 90.0
    assert parts["/"].total("seconds", le="1") == 7.0
    assert parts["/stats/"].total("requests_total") == 10.0


def test_values_that_are_no_numbers_are_left_out() -> None:
    """A gauge without a value, or infinity, is not a number to be shown."""
    page = read("a NaN\nb +Inf\nc 1\n")
    assert not page.has("a") and not page.has("b") and page.has("c")


def test_names_and_labels() -> None:
    """The values of a label are sorted, each once; a series without it does not count."""
    page = read(PAGE)
    assert page.values("requests_total", "path") == ["/", "/stats/"]
    assert page.label("build_info", "version") == "1.2"
    assert page.label("build_info", "none") == page.label("none", "version") == ""
    assert page.has("build_info") and not page.has("none") and not EMPTY.has("build_info")
    assert list(page.series("build_info")) == [({"version": "1.2"}, 1.0)]


def test_a_series_that_is_new_counts_whole() -> None:
    """A series that is new on the page was added since the earlier one."""
    added = read(PAGE).minus(read('requests_total{path="/",status="200"} 80.0\n'))
    assert added.total("requests_total", path="/") == 10.0
    assert added.total("requests_total", path="/stats/") == 10.0


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    """After a restart of the server the rates do not go below zero."""
    before, now = read("ivatar_requests_total 100.0\n"), read("ivatar_requests_total 7.0\n")
    assert now.minus(before).total("ivatar_requests_total") == 7.0


@given(st.text() | st.text('abc{}"=,\\ 0123456789.e+#\n-NIaf', max_size=200))
def test_whatever_a_server_sends_is_read_or_refused(page: str) -> None:
    """A page that is none gives ``None``, and never an exception."""
    samples = read_samples(page)
    assert samples is None or isinstance(samples, Samples)
