"""Each alert fires when it should and only then, as Prometheus' own test tool says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.promtool import (
    IDENTITY,
    MINUTES,
    REPOSITORY,
    Expectation,
    counter,
    gauge,
    histogram,
    phased,
    rules,
    series,
    unit_test,
)
from tests.support.rows import by_default

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
REQUESTS = "ivatar_requests_total"
DURATION = "ivatar_request_duration_seconds"
GENERATION = "ivatar_avatar_generation_seconds"
GENERATED = "ivatar_avatars_generated_total"
PAGE = {"method": "GET", "path": "/stats/"}
AVATAR = {"method": "GET", "status_code": "200", "path": "/avatar/{digest}"}
HITS, MISSES = "ivatar_avatar_cache_hits_total", "ivatar_avatar_cache_misses_total"
UPLOADS, LOGINS = "ivatar_file_uploads_total", "ivatar_auth_attempts_total"
RUNBOOKS = "{{ $externalLabels.runbooks }}"
OUTSIDE = "ivatar_external_avatar_requests_total"
PUSHES = "avatar_telemetry_metric_pushes_total"
LOGS = "avatar_telemetry_log_records_total"
SPANS = "avatar_telemetry_spans_total"
HOST = {"instance": "prod-1"}
ALIVE = gauge("ivatar_requests_in_progress", 0, **HOST)
EXPORTER_UP = "avatar_telemetry_exporter_up"
FREE = "avatar_telemetry_folder_free_bytes"


@dataclass(frozen=True)
class Case:
    """What an alert is shown.

    Args:
        fires: series under which it fires.
        labels: of the alert besides job, environment and severity.
        quiet: series under which it does not, one set for each reason.
        at: minutes.
        anonymous: the alert has neither job nor environment.
    """

    fires: dict[str, str]
    quiet: dict[str, dict[str, str]]
    labels: dict[str, str] | None = None
    at: int = 60
    anonymous: bool = False


def answers(good: float, bad: float) -> dict[str, str]:
    """Requests a minute."""
    return counter(REQUESTS, good, **PAGE, status_code="200") | counter(
        REQUESTS, bad, **PAGE, status_code="500"
    )


def outcomes(metric: str, good: float, bad: float, /, **labels: str) -> dict[str, str]:
    """Successes and failures a minute."""
    return counter(metric, good, **labels, success="true") | counter(
        metric, bad, **labels, success="false"
    )


def lookups(hits: float, misses: float) -> dict[str, str]:
    """Look-ups a minute."""
    labels = {"size": "80", "format": "png"}
    return counter(HITS, hits, **labels) | counter(MISSES, misses, **labels)


def durations(a_minute: float, below: str) -> dict[str, str]:
    """Avatars a minute, each of which took about so long."""
    return histogram(DURATION, a_minute, below, **AVATAR) | counter(REQUESTS, a_minute, **AVATAR)


def drawn(a_minute: float, below: str) -> dict[str, str]:
    """Pictures a minute, each of which took about so long to make."""
    labels = {"format": "png", "source": "generated"}
    made = counter(GENERATED, a_minute, **labels, size="80")
    return histogram(GENERATION, a_minute, below, **labels) | made


def spans(exported: float, dropped: float) -> dict[str, str]:
    """Spans a minute."""
    return counter(SPANS, exported, result="exported") | counter(SPANS, dropped, result="dropped")


def log_records(exported: float, failed: float) -> dict[str, str]:
    """Log records a minute."""
    return counter(LOGS, exported, result="exported") | counter(LOGS, failed, result="failed")


def pushes(exported: float, failed: float) -> dict[str, str]:
    """Pushes a minute."""
    return counter(PUSHES, exported, result="exported") | counter(PUSHES, failed, result="failed")


def appears(metric: str, value: int, /, **labels: str) -> dict[str, str]:
    """A series that is there only from minute 58 on, and stands still."""
    return series(metric, f"_x57 {value}x{MINUTES}", **labels)


def ends(metric: str, value: int) -> dict[str, str]:
    """A series that is gone after minute 40."""
    return series(metric, f"{value}x40 stale", **HOST)


CASES = {
    "HighErrorRate": Case(
        answers(90, 10),
        {"few errors": answers(97, 3), "no traffic": answers(0, 0),
         "hardly any": answers(0.2, 0.2)},
    ),
    "EndpointErrors": Case(
        answers(80, 20) | counter(REQUESTS, 9000, **AVATAR),
        {"few errors": answers(95, 5), "no traffic": answers(0, 0)},
        {"path": "/stats/"},
    ),
    "SlowRequests": Case(
        durations(60, "2.5"),
        {"fast": durations(60, "1.0"), "no traffic": durations(0, "2.5"),
         "one": durations(0.2, "2.5")},
    ),
    "RequestsQueue": Case(
        gauge("gunicorn_backlog", 11, **HOST),
        {"short": gauge("gunicorn_backlog", 10, **HOST),
         "no traffic": gauge("gunicorn_backlog", 0, **HOST)},
        HOST,
    ),
    "SlowAvatarGeneration": Case(
        drawn(60, "5.0"),
        {"fast": drawn(60, "1.0"), "no traffic": drawn(0, "5.0"), "one": drawn(0.2, "5.0")},
    ),
    "LowCacheHitRatio": Case(
        lookups(50, 50),
        {"good": lookups(85, 15), "no traffic": lookups(0, 0), "hardly any": lookups(0, 2)},
    ),
    "UploadsFail": Case(
        outcomes(UPLOADS, 2, 8, content_type="image/png"),
        {"most succeed": outcomes(UPLOADS, 6, 4, content_type="image/png"),
         "no traffic": outcomes(UPLOADS, 0, 0, content_type="image/png"),
         "one": outcomes(UPLOADS, 0, 0.2, content_type="image/png")},
    ),
    "AuthenticationFails": Case(
        outcomes(LOGINS, 1, 9, operation="login") | outcomes(LOGINS, 90, 0, operation="logout"),
        {"most succeed": outcomes(LOGINS, 6, 4, operation="login"),
         "no traffic": outcomes(LOGINS, 0, 0, operation="login"),
         "one": outcomes(LOGINS, 0, 0.2, operation="login")},
        {"operation": "login"},
    ),
    "OutsideServiceFails": Case(
        outcomes(OUTSIDE, 5, 5, service="gravatar") | outcomes(OUTSIDE, 90, 0, service="bluesky"),
        {"most succeed": outcomes(OUTSIDE, 9, 1, service="gravatar"),
         "no traffic": outcomes(OUTSIDE, 0, 0, service="gravatar")},
        {"service": "gravatar"},
    ),
    "AvailabilityBudgetBurnsFast": Case(
        answers(98, 2),
        {"slowly": answers(99.5, 0.5), "no traffic": answers(0, 0)},
        at=100,
    ),
    "AvailabilityBudgetBurnsSlowly": Case(
        answers(99.5, 0.5),
        {"within budget": answers(99.95, 0.05), "no traffic": answers(0, 0)},
        at=100,
    ),
    "LatencyBudgetBurnsFast": Case(
        durations(80, "0.5") | histogram(DURATION, 20, "1.0", **AVATAR | {"status_code": "404"}),
        {"slowly": durations(96, "0.5")
         | histogram(DURATION, 4, "1.0", **AVATAR | {"status_code": "404"}),
         "no traffic": durations(0, "1.0"),
         "another page": histogram(DURATION, 50, "5.0", **PAGE)},
        at=100,
    ),
    "LatencyBudgetBurnsSlowly": Case(
        durations(96, "0.5") | histogram(DURATION, 4, "1.0", **AVATAR | {"status_code": "404"}),
        {"within budget": durations(99.5, "0.5")
         | histogram(DURATION, 0.5, "1.0", **AVATAR | {"status_code": "404"}),
         "no traffic": durations(0, "1.0")},
        at=100,
    ),
    "TelemetrySpansLost": Case(
        spans(90, 10),
        {"none": spans(100, 0), "no traffic": spans(0, 0), "no export": {}},
    ),
    "TelemetryLogsLost": Case(
        log_records(90, 10),
        {"none": log_records(100, 0), "no traffic": log_records(0, 0), "no export": {}},
    ),
    "TelemetryPushesFail": Case(
        pushes(4, 6),
        {"most arrive": pushes(6, 4), "no traffic": pushes(0, 0), "no export": {}},
    ),
    "TelemetryInternalErrors": Case(
        appears("avatar_telemetry_internal_errors_total", 1, where="request"),
        {"long ago": gauge("avatar_telemetry_internal_errors_total", 3, where="request"),
         "no traffic": {}},
        {"where": "request"},
    ),
    "TelemetrySeriesRefused": Case(
        counter("avatar_telemetry_series_refused_total", 1, metric="ivatar_requests"),
        {"long ago": gauge("avatar_telemetry_series_refused_total", 3, metric="ivatar_requests"),
         "no traffic": {}},
        {"metric": "ivatar_requests"},
    ),
    "TelemetryFolderIsFull": Case(
        gauge(FREE, 4096, **HOST),
        {"space is left": gauge(FREE, 1 << 26, **HOST), "no traffic, no folder": {}},
        HOST,
    ),
    "TelemetryHasNoExporter": Case(
        ALIVE | gauge(EXPORTER_UP, 0, **HOST),
        {"has one": ALIVE | gauge(EXPORTER_UP, 1, **HOST), "needs none, no traffic": ALIVE,
         "the host is gone": ends("ivatar_requests_in_progress", 0) | ends(EXPORTER_UP, 1)},
        HOST,
    ),
    "MetricsScrapeFails": Case(
        gauge("up", 0, **HOST),
        {"up, no traffic": gauge("up", 1, **HOST),
         "another service": {'up{job="database"}': f"0x{MINUTES}"}},
        HOST,
    ),
    "InstanceIsSilent": Case(
        ends("ivatar_requests_in_progress", 0),
        {"alive, no traffic": ALIVE, "taken away long ago": {}},
        HOST,
    ),
    "MetricsAreMissing": Case(
        {'up{job="database"}': f"1x{MINUTES}"}, {"alive, no traffic": ALIVE}, anonymous=True
    ),
}  # fmt: skip


def firing(alert: str) -> str:
    return f'ALERTS{{alertname="{alert}",alertstate="firing"}}'


@pytest.mark.parametrize("alert", ALERTS)
def test_it_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    """It fires once for what is at fault; not on what is right or over, nor on no traffic."""
    case = CASES[alert]
    labels = {"alertname": alert, "alertstate": "firing", **(case.labels or {})}
    labels["severity"] = ALERTS[alert]["labels"]["severity"]
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    identity = "" if case.anonymous else f"{IDENTITY},"
    expected = [{"labels": f"ALERTS{{{identity}{text}}}", "value": 1}]
    fires = Expectation("fires", case.fires, case.at, {firing(alert): expected})
    quiet = [
        Expectation(reason, inputs, case.at, {firing(alert): []})
        for reason, inputs in case.quiet.items()
    ]
    assert any("no traffic" in each.name for each in quiet)
    unit_test(tmp_path, fires, *quiet)


def test_an_exporter_that_vanishes_from_the_page_is_missed(tmp_path: Path) -> None:
    """A host that had an exporter and shows none any more, while it runs, is an alert, too."""
    query = f"count({firing('TelemetryHasNoExporter')})"
    one = [{"labels": "{}", "value": 1}]
    unit_test(tmp_path, Expectation("vanished", ALIVE | ends(EXPORTER_UP, 1), 60, {query: one}))


@dataclass(frozen=True)
class Burn:
    """How an error budget burns, in samples of so many minutes.

    Args:
        phases: samples, requests of each, and how many of a thousand of them are bad where the
            budget is one of a thousand.
        at: sample at which it is looked at.
        interval: minutes.
    """

    phases: tuple[tuple[int, float, float], ...]
    at: int
    interval: int = 1

    def series(self, objective: str) -> dict[str, str]:
        """The requests, as an objective sees them."""
        budgets = {"Availability": 1, "Latency": 10}
        bad = [(samples, total * budgets[objective] * share / 1000)
               for samples, total, share in self.phases]  # fmt: skip
        whole = [(samples, total) for samples, total, _ in self.phases]
        good = [(samples, total - lost)
                for (samples, total), (_, lost) in zip(whole, bad, strict=True)]  # fmt: skip
        if objective == "Availability":
            return series(REQUESTS, phased(*good), **PAGE, status_code="200") | series(
                REQUESTS, phased(*bad), **PAGE, status_code="503"
            )
        return series(f"{DURATION}_count", phased(*whole), **AVATAR) | series(
            f"{DURATION}_bucket", phased(*good), **AVATAR, le="0.5"
        )


@pytest.mark.parametrize("objective", ["Availability", "Latency"])
@pytest.mark.parametrize(
    ("speed", "burn", "fires"),
    by_default("fast-an-hour", [
        pytest.param("Fast", Burn(((360, 1000, 0), (20, 1000, 100)), 375), 1, id="fast-an-hour"),
        pytest.param("Fast", Burn(((120, 1000, 10),), 100), 1, id="fast-six-hours"),
        pytest.param("Fast", Burn(((65, 1000, 100), (60, 1000, 0)), 100), 0, id="fast-over"),
        pytest.param("Fast", Burn(((120, 1000, 5),), 100), 0, id="fast-slow"),
        pytest.param(
            "Slowly", Burn(((100, 100_000, 0), (60, 1000, 10)), 148, 30), 1, id="slowly-a-day"
        ),
        pytest.param("Slowly", Burn(((120, 1000, 2),), 100), 1, id="slowly-three-days"),
        pytest.param(
            "Slowly", Burn(((48, 1000, 10), (20, 1000, 0)), 62, 30), 0, id="slowly-over"
        ),
        pytest.param("Slowly", Burn(((120, 1000, 0.9),), 100), 0, id="slowly-within-budget"),
    ]),
)  # fmt: skip
def test_each_pair_of_windows_has_its_say(
    objective: str, speed: str, burn: Burn, fires: int, tmp_path: Path
) -> None:
    """A budget's alert needs a long and a short window, and one such pair is enough."""
    query = f"count({firing(f'{objective}BudgetBurns{speed}')})"
    wanted = [{"labels": "{}", "value": 1}] * fires
    at = burn.at * burn.interval
    inputs = burn.series(objective)
    unit_test(tmp_path, Expectation(speed, inputs, at, {query: wanted}, burn.interval))


@pytest.mark.parametrize("alert", ALERTS)
def test_it_tells_what_to_do(alert: str) -> None:
    """It has a severity, a summary, a description and a paragraph of the runbook."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    annotations = rule["annotations"]
    assert annotations["summary"] and annotations["description"].endswith(".")
    path, _, anchor = annotations["runbook_url"].removeprefix(RUNBOOKS).partition("#")
    chapters = re.split(r"^#+ ", (REPOSITORY / path).read_text(encoding="utf-8"), flags=re.M)
    paragraphs = {head.strip().lower(): text.strip() for head, _, text in
                  (chapter.partition("\n") for chapter in chapters)}  # fmt: skip
    assert anchor == alert.lower()
    assert len(paragraphs[anchor]) > 100


def test_names_of_the_first_alerts_are_kept() -> None:
    """Silences and routes that name the first alerts of the project go on matching."""
    assert {"HighErrorRate", "SlowAvatarGeneration", "LowCacheHitRatio"} <= set(ALERTS)
    assert set(CASES) == set(ALERTS)
