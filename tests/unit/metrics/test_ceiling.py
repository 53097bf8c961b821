"""The ceiling on series: above what a profile can make, and no way to hide a failure."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http import labels
from avatar_telemetry.metrics.instruments import (
    AUTH_ATTEMPTS,
    AVATAR_REQUESTS,
    DB_DURATION,
    DURATION,
    FIRST_BYTE,
    INSTRUMENTS,
    REQUESTS,
    UPLOADS,
)
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.ivatar import PROFILE
from tests.support.recorder import DIGEST, Recorder
from tests.support.samples import samples_in
from tests.support.wsgi_client import call, make_environ

STATUSES = ("200", "206", "301", "302", "304", "400", "403", "404", "405")
"""Below 500, what Django and its views send to a client without an account."""
PATHS = sorted({route.template for route in (*PROFILE.routes, PROFILE.other)})


def test_the_default_stands_above_the_product_of_the_shipped_profile() -> None:
    """Whatever a client sends, no label of the shipped profile is folded under the defaults."""
    settings = Settings.from_env({})
    values = {
        "method": labels.METHODS, "status_code": STATUSES, "path": PATHS,
        "size": (*settings.sizes, labels.OTHER), "format": labels.FORMATS,
        "source": labels.SOURCES,
    }  # fmt: skip
    product = sum(
        prod(len(values[name]) for name in each.labels) for each in INSTRUMENTS if each.folds
    )
    assert product < settings.max_series


def test_only_what_a_client_chooses_is_folded() -> None:
    """No instrument folds a status, an outcome or a source."""
    folded = {name for each in INSTRUMENTS for name in each.folds}
    assert folded == {"method", "path", "size", "format"}
    for each in INSTRUMENTS:
        assert set(each.folds) <= set(each.labels)


def test_the_method_is_folded_before_the_path(tmp_path: Path) -> None:
    """At the ceiling the path is still recorded, and from a quarter more on the status alone."""
    recorder = Recorder(tmp_path).set(AVATAR_TELEMETRY_MAX_SERIES="100")
    for number in range(100):
        recorder.metrics.count(REQUESTS, "GET", "200", f"/{number}")
    recorder.metrics.count(REQUESTS, "PUT", "404", "/new")
    assert recorder.value(
        "ivatar_requests_total", method="other", status_code="404", path="/new"
    ) == 1  # fmt: skip
    recorder.metrics.observe(FIRST_BYTE, 0.1, "/new")
    assert recorder.value(f"{FIRST_BYTE.name}_count", path="/new") == 1
    for number in range(100):
        recorder.metrics.count(REQUESTS, "other", "200", f"/{number}/more")
    recorder.metrics.count(REQUESTS, "PUT", "410", "/newer")
    recorder.metrics.observe(FIRST_BYTE, 0.1, "/newer")
    assert recorder.value(f"{FIRST_BYTE.name}_count", path="other") == 1
    assert recorder.value(
        "ivatar_requests_total", method="other", status_code="410", path="other"
    ) == 1  # fmt: skip
    recorder.book.detach()


def test_series_of_the_last_holder_are_known(tmp_path: Path) -> None:
    """Beyond the ceiling a series that is in the slot's files is continued, not folded, also
    before any other series of its type is used."""
    for others in (0, 3):
        book = Book()
        book.open(tmp_path, "0")
        metrics = Metrics(book, 4)
        for number in range(others):
            metrics.count(REQUESTS, "GET", "200", f"/{number}")
        metrics.observe(DURATION, 0.1, "PUT", "200", "/known")
        book.detach()
    count = "ivatar_request_duration_seconds_count"
    labels = {"method": "PUT", "status_code": "200", "path": "/known"}
    assert samples_in(tmp_path)[count, frozenset(labels.items())] == 2


def test_a_histogram_is_one_series(tmp_path: Path) -> None:
    """The ceiling counts series, not the cells of a histogram; a next holder counts the same."""
    recorder = Recorder(tmp_path)
    before = recorder.book.series
    for number in range(10):
        recorder.metrics.observe(DURATION, 0.1, "GET", "200", f"/{number}")
    assert recorder.book.series == before + 10
    recorder.book.detach()
    recorder.book.open(tmp_path, "0")
    recorder.metrics.renew()
    recorder.metrics.observe(DURATION, 0.1, "GET", "200", "/0")
    assert recorder.book.series == before + 10
    recorder.book.detach()


@pytest.mark.parametrize("ceiling", ["100", pytest.param("20000", marks=pytest.mark.slow)])
def test_a_flood_hides_no_failure(tmp_path: Path, ceiling: str) -> None:
    """After every method on every route, answered in two ways, each crash and each failed login is
    counted as such, by this worker and by the next one in its slot."""
    recorder = Recorder(tmp_path).set(AVATAR_TELEMETRY_MAX_SERIES=ceiling)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ.get("HTTP_X_CRASH"):
            raise RuntimeError
        status = "400 Bad Request" if environ["HTTP_HOST"] == "wrong" else "200 OK"
        start_response(status, [("Content-Type", "text/html")])
        return [b"page"]

    app = recorder.wrap(application)
    paths = [template.replace("{digest}", DIGEST).replace("{", "").replace("}", "")
             for template in PATHS]  # fmt: skip
    for method in (*labels.METHODS[:-1], "BREW"):
        for path in paths:
            for host in ("right", "wrong"):
                call(app, make_environ(path, REQUEST_METHOD=method, HTTP_HOST=host))
    failed = {"operation": "login", "success": "false"}
    before = recorder.value(f"{AUTH_ATTEMPTS.name}_total", **failed)
    folded = recorder.value("avatar_telemetry_series_refused_total")
    assert bool(folded) is (ceiling == "100")
    for worker in (1, 2):
        crash = make_environ(f"/avatar/{DIGEST}", REQUEST_METHOD="GET", HTTP_X_CRASH="1")
        with pytest.raises(RuntimeError):
            call(app, crash)
        call(app, make_environ("/accounts/login/", REQUEST_METHOD="POST", HTTP_HOST="right"))
        for instrument in (AUTH_ATTEMPTS, UPLOADS):
            recorder.metrics.count(instrument, "new", "false")
        recorder.metrics.observe(DB_DURATION, 0.1, "mysql", "SELECT")
        seen = {"method": "GET", "status_code": "500", "path": "/avatar/{digest}"}
        assert recorder.value("ivatar_requests_total", **seen) == worker
        assert recorder.value("ivatar_request_duration_seconds_count", **seen) == worker
        assert recorder.value(f"{AVATAR_REQUESTS.name}_total", status_code="500") == worker
        assert recorder.value(f"{UPLOADS.name}_total", content_type="new") == worker
        assert recorder.value(f"{DB_DURATION.name}_count", system="mysql") == worker
        recorder.book.open(tmp_path, "0")
        recorder.metrics.renew()
    assert recorder.value(f"{AUTH_ATTEMPTS.name}_total", **failed) == before + 2
    recorder.book.detach()
