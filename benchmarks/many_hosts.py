"""The cost of many hosts for a real Collector and a real Prometheus, and the data of one host.

    python -m benchmarks.many_hosts [--quick] [--out FOLDER]

Needs the extra ``test``, and ``otelcol`` and ``prometheus`` on the ``PATH``, as
``tests/support/build_servers.py`` builds them; listens on loopback only, and a full run takes six
gigabytes of memory. The series are those of the demo server under traffic, pushed as each of the
hosts (:mod:`benchmarks.fleet`). Processor time and memory are those that Collector and Prometheus
report of themselves. The run fails if a count does not arrive.

``collector``: the hosts push to one Collector, whose page Prometheus scrapes. ``direct``: they push
to Prometheus. ``native``: they push to one that stores native histograms. ``spans``: batches of
spans go through a Collector to another one, as they come or by tail sampling.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from avatar_telemetry.metrics.family import Family
from benchmarks.command import run_part
from benchmarks.fleet import Host, demo, visit
from benchmarks.results import say
from benchmarks.sink import running_sink
from benchmarks.stores import (
    COLLECTOR_YAML,
    DEPLOY,
    MIB,
    Store,
    a_collector,
    a_prometheus,
    of_prometheus,
    page_of,
    size_of,
)

PUSHERS = 4
"""Threads that push, so that the servers have to do with several hosts at once."""
TRIES = 3
PATIENCE = 300
"""Seconds until something that should have come is given up."""
BATCH = 64
ATTRIBUTES: dict[str, str | int] = {
    "http.method": "GET",
    "http.url": "http://seccdn.example.org/avatar/{digest}?s=80&d=identicon",
    "http.route": "/avatar/{digest}",
    "http.scheme": "http",
    "http.host": "seccdn.example.org",
    "http.target": "/avatar/{digest}",
    "http.flavor": "1.1",
    "http.user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "http.remote_addr": "192.0.2.0",
    "http.status_code": 200,
    "http.response_content_length": 1234,
    "ivatar.request_type": "avatar",
    "ivatar.avatar_size": 80,
    "ivatar.avatar_format": "png",
}
"""Of a server span."""
# A collector at the end of the line, which only counts.
LAST = """
service:
  pipelines:
    traces: {exporters: [debug]}
"""
# The hosts send faster than their traces can be decided upon: with the room of the deployed
# configuration some would be given up.
ROOM = """
processors:
  tail_sampling:
    num_traces: 1000000
"""
TAIL_SAMPLING = DEPLOY / "collector-tail-sampling.yaml"


@dataclass(frozen=True)
class Effort:
    """The hosts of each fleet, the pushes of each host, the seconds between scrapes, and the
    number of spans."""

    fleets: tuple[int, ...]
    pushes: int
    every: int
    spans: int


QUICK = Effort((2, 5), 2, 1, 1_024)
FULL = Effort((100, 300, 1_000), 3, 20, 256_000)


def run(quick: bool) -> dict[str, Any]:
    """All of it."""
    return measure(QUICK if quick else FULL)


def measure(effort: Effort) -> dict[str, Any]:
    """Every part, each in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        families, one = one_host(folder / "one")
        results: dict[str, Any] = {"host": one, **{way: {} for way in WAYS}, "spans": {}}
        for hosts in effort.fleets:
            for way, through in WAYS.items():
                say(f"many_hosts: {hosts} hosts, {way}")
                fleet = Fleet(families, hosts, folder / f"{way}-{hosts}")
                results[way][str(hosts)] = kept(through, fleet, effort)
        room = folder / "room.yaml"
        room.write_text(ROOM)
        for way, overlays in (("plain", ()), ("tail sampling", (TAIL_SAMPLING, room))):
            say(f"many_hosts: spans, {way}")
            own = folder / way.replace(" ", "-")
            results["spans"][way] = kept(of_spans, own, effort.spans, overlays)
    return results


def kept(part: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Return the figures of a part, or why there are none: the other parts are worth keeping."""
    try:
        measured = part(*arguments)
        say(json.dumps(measured))
        return measured
    except (SystemExit, OSError, AssertionError, subprocess.TimeoutExpired) as error:
        return {"failed": f"{type(error).__name__}: {error}"[:200]}


def one_host(folder: Path) -> tuple[list[Family], dict[str, Any]]:
    """The series of a host, and the bytes that it sends."""
    figures: dict[str, Any] = {}
    families: list[Family] = []
    for compression in ("none", "gzip"):
        own = folder / compression
        own.mkdir(parents=True)
        with running_sink() as sink:
            with demo(own, sink.url, compression) as server:
                visit(server)
                families = server.families()
            sent = sink.counts()  # after its last spans
        requests = counted(families)
        figures[f"span_bytes_{compression}"] = round(sent["bytes"] / sent["spans"], 1)
        figures["spans_per_request"] = round(sent["spans"] / requests, 2)
        figures |= one_push(families, own, compression)
    figures["samples"] = sum(len(family.values) for family in families)
    return families, figures


def one_push(families: Sequence[Family], folder: Path, compression: str) -> dict[str, Any]:
    """The bytes of a push, and the processor time of its sender."""
    with running_sink() as sink:
        host = Host(1, families, f"{sink.url}/v1/metrics", folder, compression)
        host.push()  # the first one imports
        before, started = sink.counts()["bytes"], time.process_time()
        arrived = host.push()
        spent = time.process_time() - started
        if not arrived:
            raise SystemExit("many_hosts: a push did not arrive")
        return {
            f"push_bytes_{compression}": sink.counts()["bytes"] - before,
            f"push_cpu_ms_{compression}": round(spent * 1e3, 1),
        }


class Fleet:
    """So many hosts that have not pushed yet.

    Args:
        families: of each.
        number: of hosts.
        folder: for what they and the servers keep.
    """

    def __init__(self, families: Sequence[Family], number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.hosts: list[Host] = []
        self.late = 0
        self._families = families

    def push(self, endpoint: str, times: int, timeout: float = 60.0) -> float:
        """Push from every host in turn.

        Args:
            endpoint: URL that metrics are posted to.
            times: how often each pushes.
            timeout: seconds until a push is given up.

        Returns:
            The number of requests in the last pushes.

        Raises:
            SystemExit: one did not arrive.
        """
        self.hosts = [
            Host(number, self._families, endpoint, self.folder, timeout=timeout)
            for number in range(1, self.number + 1)
        ]
        with ThreadPoolExecutor(PUSHERS) as pool:
            for _ in range(times):
                late = self.hosts
                for _ in range(TRIES):  # a host whose push was late comes again, with totals
                    arrived = list(pool.map(Host.push, late))
                    late = [host for host, there in zip(late, arrived, strict=True) if not there]
                    self.late += len(late)
                if late:
                    raise SystemExit(f"many_hosts: {len(late)} pushes did not arrive")
        return sum(counted(host.pushed) for host in self.hosts)


def through_collector(fleet: Fleet, effort: Effort) -> dict[str, Any]:
    """Push to a Collector that a Prometheus scrapes."""
    with a_collector(fleet.folder / "otelcol", "127.0.0.1:1") as (receiver, itself):
        before = itself()
        expected = fleet.push(f"{receiver.otlp_http}/v1/metrics", effort.pushes)
        after = itself()
        page = size_of(receiver.metrics_url)
        target = receiver.metrics_url.removeprefix("http://").removesuffix("/metrics")
        with a_prometheus(fleet.folder, effort.every, target) as store:
            await_count(store, expected, fleet.number)
            scraped = store.query("max_over_time(scrape_duration_seconds[10m])")
            memory = itself()["otelcol_process_memory_rss"]
            return {
                "collector_cpu_ms_a_push": per(
                    after, before, "otelcol_process_cpu_seconds", fleet.number * effort.pushes
                ),
                "late_pushes": fleet.late,
                "collector_mib": round(memory / MIB),
                "page_mib": round(page / MIB, 1),
                "scrape_seconds": round(float(scraped[0]["value"][1]), 2),
            } | of_prometheus(store)


def straight(fleet: Fleet, effort: Effort, native: bool = False) -> dict[str, Any]:
    """Push to a Prometheus, which stores histograms as they are or as native ones."""
    with a_prometheus(fleet.folder, effort.every, native=native) as store:
        before = page_of(store.url)
        expected = fleet.push(f"{store.otlp}/v1/metrics", effort.pushes)
        after = page_of(store.url)
        await_count(store, expected, fleet.number)
        return {
            "prometheus_cpu_ms_a_push": per(
                after, before, "process_cpu_seconds_total", fleet.number * effort.pushes
            ),
            "late_pushes": fleet.late,
        } | of_prometheus(store)


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    "collector": through_collector,
    "direct": straight,
    "native": partial(straight, native=True),
}
"""The functions that measure a fleet, by their names in the results."""


def of_spans(folder: Path, number: int, overlays: Sequence[Path]) -> dict[str, Any]:
    """Send so many spans through a Collector to another one."""
    folder.mkdir()
    last = folder / "last.yaml"
    last.write_text(LAST)
    with (
        a_collector(folder / "last", "127.0.0.1:1", COLLECTOR_YAML, last) as (end, its_end),
        a_collector(
            folder / "first", end.otlp_grpc.removeprefix("http://"), COLLECTOR_YAML, *overlays,
            COLLECTOR_DECISION_WAIT="2s", COLLECTOR_SHARE_PERCENT="100",
        ) as (receiver, itself),
    ):  # fmt: skip
        before = itself()
        with ThreadPoolExecutor(PUSHERS) as pool:
            list(
                pool.map(
                    lambda _: post_spans(f"{receiver.otlp_http}/v1/traces"), range(number // BATCH)
                )
            )
        await_true(
            lambda: its_end().get("otelcol_receiver_accepted_spans", 0) >= number, "the spans"
        )
        after = itself()
    return {
        "spans": number,
        "cpu_ms_a_thousand_spans": per(
            after, before, "otelcol_process_cpu_seconds", number / 1_000
        ),
        "collector_mib": round(after["otelcol_process_memory_rss"] / MIB),
    }


def post_spans(url: str) -> None:
    """A batch, each span a trace of its own."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer(__name__)
    spans = [tracer.start_span("GET /avatar/{digest}", attributes=ATTRIBUTES) for _ in range(BATCH)]
    for span in spans:
        span.end()
    ended = [span for span in spans if isinstance(span, ReadableSpan)]
    body = encode_spans(ended).SerializeToString()
    request = urllib.request.Request(url, body, {"Content-Type": "application/x-protobuf"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def await_count(store: Store, expected: float, hosts: int) -> None:
    """Wait until it has all requests of all hosts."""

    def is_there() -> bool:
        return (
            value_of(store, "sum(ivatar_requests_total)") == expected
            and value_of(store, "count(count by (instance) (ivatar_requests_total))") == hosts
        )

    await_true(is_there, f"the requests of {hosts} hosts")


def value_of(store: Store, expression: str) -> float:
    """The one value of an expression; zero for none."""
    return sum(float(each["value"][1]) for each in store.query(expression))


def await_true(ready: Callable[[], bool], what: str) -> None:
    """Ask until it is true.

    Raises:
        SystemExit: it is not true in time.
    """
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(f"many_hosts: {what} did not arrive")
        time.sleep(0.2)


def counted(families: Sequence[Family]) -> float:
    """Return the number of requests that these families count."""
    return sum(sum(family.values) for family in families if family.name == "ivatar_requests")


def per(after: dict[str, float], before: dict[str, float], sample: str, number: float) -> float:
    """Milliseconds of processor time for each."""
    return round((after[sample] - before[sample]) / number * 1e3, 2)


if __name__ == "__main__":
    run_part("many_hosts", run, __doc__)
