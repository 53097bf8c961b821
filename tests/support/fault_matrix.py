"""A server with a faulty collector, compared with the same server without telemetry.

    python -m tests.support.fault_matrix            # prints the table
    python -m tests.support.fault_matrix --write    # puts it into docs/reliability.md

``test_otlp_faults.py`` holds each run against what is promised.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority, Certificate
from tests.support.gunicorn_server import GunicornServer, Metrics, eventually, total
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import SinkProcess
from tests.support.paths import DOCS

PAGE = DOCS / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
FLUSH_TIMEOUT = 1.0
"""Seconds; what the servers here are told."""
WORKERS = 2
CLIENTS = 4
RECYCLED_AFTER = 30
OF_GUNICORN = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] (?!avatar_telemetry exporter)"
)
NEWS = re.compile(r"\[INFO\] avatar_telemetry exporter")
FAILURE = re.compile(r"cannot export spans|spans? lost")
SETTINGS = {
    "OTEL_EXPORT_ENABLED": "true",
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
    "OTEL_BSP_MAX_QUEUE_SIZE": "64",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    "AVATAR_TELEMETRY_FLUSH_TIMEOUT": str(FLUSH_TIMEOUT),
    "HOSTNAME": "here",
}
# The name resolves once the file is there; till then one is asked for that nobody has (RFC 2606).
RESOLVER = """
import os
import socket

asked = socket.getaddrinfo

def getaddrinfo(host, *args, **options):
    if host == "collector.test":
        host = "127.0.0.1" if os.path.exists({path!r}) else "collector.invalid"
    return asked(host, *args, **options)

socket.getaddrinfo = getaddrinfo
"""

Request = tuple[str, str, bytes | None]
Reply = tuple[int, bytes]
MIX: Sequence[Request] = (
    ("GET", "/avatar/abc", None), ("GET", "/stream", None), ("GET", "/gone", None),
    ("POST", "/upload", b"x" * 5000), ("GET", "/moved", None), ("GET", "/wrong", None),
    ("GET", "/avatar/def", None), ("HEAD", "/avatar/abc", None),
)  # fmt: skip
TWO_SPANS = ("/avatar/", "/upload")


@dataclass(frozen=True)
class Case:
    """One way in which a collector is bad.

    Args:
        name: in the table.
        fault: of the sink; ``None`` where something else is wrong.
        measures: of the fault.
        wrong_certificate: it shows a certificate that nobody vouches for.
        unresolved: its name is not known.
        killed: its process is killed.
        refuses: it never says that it took anything.
        reliable: what it says that it took, it took.
        patience: seconds that the server's time-out of a batch is set to.
    """

    name: str
    fault: Fault | None = None
    measures: tuple[tuple[str, Any], ...] = ()
    wrong_certificate: bool = False
    unresolved: bool = False
    killed: bool = False
    refuses: bool = True
    reliable: bool = True
    patience: float = 2.0


CASES = (
    Case("refused", Fault.REFUSED),
    Case("blackhole", Fault.BLACKHOLE),
    Case("slow, 5 s", Fault.SLOW, (("seconds", 5.0),)),
    Case("reset", Fault.RESET),
    Case("429, Retry-After", Fault.STATUS, (("status", 429), ("headers", {"Retry-After": "1"}))),
    Case("500", Fault.STATUS, (("status", 500),)),
    Case("503", Fault.STATUS, (("status", 503),)),
    Case("garbage", Fault.GARBAGE),
    Case("redirect", Fault.REDIRECT),
    Case("unknown name", unresolved=True),
    Case("wrong certificate", wrong_certificate=True),
    Case("killed, restarted", killed=True),
    Case("endless answer", Fault.ENDLESS, refuses=False, reliable=False),
    Case("endless head", Fault.ENDLESS_HEAD, reliable=False),  # it begins with 200
)


@dataclass
class Run:
    """The observations of one run.

    Args:
        replies: to all requests that the bare server got as well, in their order.
        began: when the first request was sent.
        reload: seconds from HUP until all workers were new ones.
        recycling: seconds for requests in the course of which workers were recycled.
        end: seconds from TERM until the master was gone.
        growth: bytes by which a worker grew over the second half of the first requests.
        log: what the server printed.
        lasted: seconds from the first request to the end, in which the log was written.
        ended: how many spans.
        results: what became of them, as the page says.
        arrived: how many server spans of ``BACK`` requests came when the collector was good again.
        pushed: how many requests the newest push of metrics told of.
        counted: how many requests the page told of.
        failures: lines about failed exports of spans before the collector was good again.
        sent: how many spans it took.
    """

    name: str
    replies: list[Reply]
    began: float = field(default_factory=time.monotonic)
    reload: float = 0.0
    recycling: float = 0.0
    end: float = 0.0
    growth: int = 0
    log: str = ""
    lasted: float = 0.0
    status: int = -1
    ended: int = 0
    failures: int = 0
    sent: int = 0
    results: dict[str, int] | None = None
    arrived: int = 0
    pushed: float = 0.0
    counted: float = 0.0

    @property
    def not_gunicorns(self) -> list[str]:
        """The lines of the log that are not of gunicorn itself, but for news of the exporter."""
        lines = [line for line in self.log.splitlines() if line and not OF_GUNICORN.match(line)]
        return [line for line in lines if not NEWS.search(line)]


BACK = 20


class Collector:
    """A sink that is bad in the way of a case, and can be good again."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case = case
        self._resolves = folder / "resolves"
        self._good: Certificate | None = None
        self._bad: Certificate | None = None
        self.env = {"OTEL_EXPORTER_OTLP_TIMEOUT": f"{case.patience:g}"}
        if case.wrong_certificate:
            authority = Authority(folder / "authority")
            self._good = authority.issue("collector")
            self._bad = authority.self_signed("nobody")
            self.env["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(authority.certificate.path)
        self.sink = SinkProcess(folder, certificate=self._good)
        host = "collector.test" if case.unresolved else "127.0.0.1"
        self.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.sink.url.replace("127.0.0.1", host)
        self.config = ""
        if case.unresolved:
            # The configuration changes what names resolve to in gunicorn's processes alone.
            self.env["AVATAR_TELEMETRY_EXPORTER"] = "thread"
            self.config = RESOLVER.format(path=str(self._resolves))

    def fail(self) -> None:
        """Be bad."""
        if self._case.unresolved:
            self._resolves.unlink(missing_ok=True)
        elif self._case.killed:
            self.sink.kill()
        elif self._bad is not None:
            self._present(self._bad)
        else:
            self.sink.behave(self._case.fault or Fault.NONE, **dict(self._case.measures))

    def recover(self) -> None:
        """Be good again."""
        if self._case.unresolved:
            self._resolves.touch()
        elif self._case.killed:
            self.sink.start()
        elif self._good is not None:
            self._present(self._good)
        else:
            self.sink.behave()

    def _present(self, certificate: Certificate) -> None:
        self.sink.stop()
        self.sink.present(certificate)
        self.sink.start()


def run_case(case: Case, folder: Path, worker_class: str = "sync") -> Run:
    """One server with a collector that is bad, good again, and bad at the end."""
    collector = Collector(case, folder)
    env = {**SETTINGS, **collector.env}
    with (
        collector.sink,
        _server(folder, env, collector.config, worker_class) as server,
    ):
        collector.fail()
        run = _work(case.name, server)
        run.failures = _await_failure(server) if case.refuses else 0
        collector.recover()
        _await_settled(server, run)
        before = len(_back(collector.sink))
        for _ in range(BACK):
            server.get("/back")
        run.ended += BACK
        eventually(lambda: len(_back(collector.sink)) >= before + BACK, what="spans of /back")
        run.results = _await_settled(server, run)
        run.arrived = len(_back(collector.sink)) - before
        run.sent = len({span.span_id for span in collector.sink.spans()})
        run.counted = server.requests()
        run.pushed = eventually(lambda: _pushed(collector.sink, run.counted), what="the push")
        collector.fail()
        _end(server, run)
    return run


def run_bare(folder: Path) -> Run:
    """The same requests to the same server without telemetry."""
    with _server(folder, {"OTEL_SDK_DISABLED": "true"}) as server:
        run = _work("no telemetry", server)
        _end(server, run)
    return run


@contextmanager
def _server(
    folder: Path, env: dict[str, str], config: str = "", worker_class: str = "sync"
) -> Iterator[GunicornServer]:
    server = GunicornServer(
        folder / "server", "answers:application", workers=WORKERS, env=env, config=config,
        worker_class=worker_class, max_requests=RECYCLED_AFTER,
    )  # fmt: skip
    try:
        yield server.start()
    finally:
        server.close()


def _work(name: str, server: GunicornServer) -> Run:
    """Workers that are recycled, a reload, and two more rounds, all of it with requests."""
    run = Run(name, [])
    run.recycling = _measure(lambda: _ask_all(server, run, 12))
    # Those who ask for the page would have workers recycled for ever.
    configuration = server.configuration.read_text()
    server.configuration.write_text(f"{configuration}\nmax_requests = 0\n")
    eventually(lambda: _recycled(server), what="the end of the recycled workers")
    server.await_other_workers(WORKERS, without=[])
    run.reload = _measure(lambda: _reload(server, run, server.workers()))
    _ask_all(server, run, 13)
    before = {pid: resident(pid) for pid in server.workers()}
    _ask_all(server, run, 13)
    run.growth = max(resident(pid) - size for pid, size in before.items())
    return run


def _recycled(server: GunicornServer) -> bool:
    """Return whether all workers that were to end after their last request have ended."""
    log = server.log()
    # Two threads of one worker may both log that it restarts.
    restarting = set(re.findall(r"\[(\d+)\] \[INFO\] Autorestarting worker", log))
    return restarting <= set(re.findall(r"Worker exiting \(pid: (\d+)\)", log))


def _reload(server: GunicornServer, run: Run, old: list[int]) -> None:
    with ThreadPoolExecutor(1) as other:
        asking = other.submit(_ask_all, server, run, 10)
        server.signal(signal.SIGHUP)
        server.await_other_workers(WORKERS, without=old)
        asking.result()


def _ask_all(server: GunicornServer, run: Run, times: int) -> None:
    requests = [*MIX] * times
    with ThreadPoolExecutor(CLIENTS) as pool:
        run.replies += pool.map(lambda each: _ask(server, each), requests)
    run.ended += sum(2 if path.startswith(TWO_SPANS) else 1 for _, path, _ in requests)


def _ask(server: GunicornServer, request: Request) -> Reply:
    answer = server.request(*request)
    return answer.status, answer.body


def _end(server: GunicornServer, run: Run) -> None:
    for _ in range(BACK):  # something to be sent at the end
        server.get("/back")
    server.signal(signal.SIGTERM)
    run.end = _measure(server.wait)
    run.status = server.wait()
    run.lasted = time.monotonic() - run.began
    run.log = server.log()


def _await_failure(server: GunicornServer) -> int:
    # A scrape lets a worker see that there is no exporter: its thread may have ended last.
    return eventually(
        lambda: server.reachable() and len(FAILURE.findall(server.log())), what="a failure"
    )


def _await_settled(server: GunicornServer, run: Run) -> dict[str, int]:
    def settled() -> Metrics | None:
        page = server.metrics()
        done = total(page, "avatar_telemetry_spans_total")
        assert done <= run.ended, f"{done} spans were counted, {run.ended} ended"
        return page if done == run.ended else None

    page = eventually(settled, what="the count of all spans")
    assert page is not None
    return {
        result: int(total(page, "avatar_telemetry_spans_total", result=result))
        for result in ("exported", "failed", "dropped")
    }


def _back(sink: SinkProcess) -> list[str]:
    return [span.span_id for span in sink.spans() if span.name == "GET /back"]


def _pushed(sink: SinkProcess, wanted: float) -> float:
    pushed = sum(point.as_double for point in sink.newest("ivatar_requests_total").values())
    return float(pushed) if pushed >= wanted else 0.0


def _measure(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None, f"{pid} has ended"
    return int(found[1]) * 1024


def table(runs: Sequence[Run]) -> str:
    """The figures of runs, in Markdown."""
    lines = [
        "| collector | reload | recycling | end | growth | exported | failed | dropped | lines |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for run in runs:
        results = run.results or {}
        counts = [str(results.get(each, "-")) for each in ("exported", "failed", "dropped")]
        cells = [
            run.name, f"{run.reload:.1f} s", f"{run.recycling:.1f} s", f"{run.end:.1f} s",
            f"{max(run.growth, 0) / 2**20:.1f} MiB", *counts, str(len(run.not_gunicorns)),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run everything, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    given = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate((None, *CASES)):
            own = Path(folder) / str(number)
            own.mkdir()
            runs.append(run_bare(own) if case is None else run_case(case, own))
            print(f"{runs[-1].name}: done", file=sys.stderr)
    text = table(runs)
    if given.write:
        head, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    else:
        print(text)


if __name__ == "__main__":
    main()
