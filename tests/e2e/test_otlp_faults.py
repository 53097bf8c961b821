"""A bad collector is nobody's trouble: each fault, with load, beside a server without telemetry."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fault_matrix import (
    BACK,
    BEGIN,
    CASES,
    END,
    PAGE,
    SETTINGS,
    Case,
    Run,
    resident,
    run_bare,
    run_case,
    table,
)
from tests.support.gunicorn_server import Serve, eventually
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import SinkProcess
from tests.support.rows import WORKER_CLASSES, by_default

MAX_GROWTH = 8 * 2**20
"""Bytes; a queue of spans that were not dropped would be more."""
PATIENT = Case("patient", Fault.BLACKHOLE, refuses=False, patience=300.0)
"""Nothing fails in the time of a test: whoever ends did not wait for that."""

FAULTS = [
    *(pytest.param(case, "sync", id=case.name) for case in CASES),
    *(pytest.param(PATIENT, *each.values, id=each.id) for each in WORKER_CLASSES),
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The server without telemetry."""
    return run_bare(tmp_path_factory.mktemp("bare"))


@pytest.mark.parametrize(
    ("case", "worker_class"),
    by_default("503", FAULTS),
)
def test_nobody_notices(case: Case, worker_class: str, tmp_path: Path, bare: Run) -> None:
    """Every request is answered the same, every process ends, every span is accounted for."""
    run = run_case(case, tmp_path, worker_class)
    assert run.replies == bare.replies
    assert_ends(run)
    # With an exporter in a thread, a worker imports it.
    assert run.growth < MAX_GROWTH * (2 if case.unresolved else 1)
    # A line a minute for spans, one for metrics, and at the end two for what was left.
    assert len(run.not_gunicorns) <= 2 * (1 + run.lasted // 60) + 2, run.not_gunicorns
    assert run.results is not None and sum(run.results.values()) == run.ended
    assert run.arrived == BACK
    assert run.pushed == run.counted == len(run.replies) + BACK
    assert (run.failures > 0) == case.refuses
    assert run.results["exported"] <= run.sent or not case.reliable


def assert_ends(run: Run) -> None:
    """Workers end by themselves, and the master after them."""
    assert run.status == 0
    assert run.log.count("Autorestarting worker after current request.") >= 2
    for word in ("SIGKILL", "SIGABRT", "WORKER TIMEOUT", "Traceback"):
        assert word not in run.log
    booted, gone = (
        set(re.findall(rf"{word} (?:with pid: |\(pid: )(\d+)", run.log))
        for word in ("Booting worker", "Worker exiting")
    )
    assert booted == gone
    assert run.log.rindex("Worker exiting") < run.log.rindex("Shutting down: Master")


def test_the_queue_bounds_the_memory(serve: Serve, sink_process: SinkProcess) -> None:
    """With the usual queue full, further spans are dropped, and a worker grows no more."""
    sink_process.behave(Fault.BLACKHOLE)
    env = {
        **SETTINGS, "OTEL_EXPORTER_OTLP_ENDPOINT": sink_process.url,
        "OTEL_BSP_MAX_QUEUE_SIZE": None, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": None,
        "OTEL_METRICS_EXPORTER": "none",
    }  # fmt: skip
    server = serve("answers:application", workers=1, env=env)
    (worker,) = server.workers()

    def dropped() -> float:
        return server.value("avatar_telemetry_spans_total", result="dropped")

    _send(server.get, 1400)  # two spans each: more than the queue and a batch on its way
    assert eventually(dropped) > 0
    full = resident(worker)
    before = dropped()
    _send(server.get, 1000)
    assert dropped() - before == 2000
    assert resident(worker) - full < MAX_GROWTH / 4


def test_the_page_shows_every_fault() -> None:
    """The table in ``docs/reliability.md`` is that of these cases."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    names = [line.split("|")[1].strip() for line in shown.splitlines()[2:]]
    assert names == ["no telemetry", *(case.name for case in CASES)]
    assert shown.splitlines()[:2] == table([]).splitlines()


def _send(get: Callable[[str], object], number: int) -> None:
    for _ in range(number):
        get("/avatar/abc")
