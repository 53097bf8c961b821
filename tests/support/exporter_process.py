"""The exporter of a server under test: its process, and the spans of numbered requests at a sink."""

from __future__ import annotations

import http.client
import os
from collections import Counter
from pathlib import Path
from threading import Lock

from tests.support.gunicorn_server import GunicornServer, eventually
from tests.support.otlp_records import Received

NAME = "avatar-exporter"
SPANS_EACH = 2
"""Spans of a request for an avatar of ``answers:application``."""


def sending(url: str, **more: str | None) -> dict[str, str | None]:
    """The environment of a server that sends all its spans, with the paths in them, and no metrics.

    Args:
        url: of the sink.
        more: variables beside these.
    """
    return {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "AVATAR_TELEMETRY_PRIVACY": "off",
        **more,
    }


def exporters(folder: Path) -> list[int]:
    """The living exporter processes of a runtime folder."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name == NAME and os.fsencode(folder) in arguments:
            found.append(pid)
    return found


def exporter(server: GunicornServer, without: int = 0) -> int:
    """Wait until one exporter runs for a server; its pid.

    Args:
        server: whose.
        without: the pid of one that does not count.
    """
    folder = server.runtime_folder

    def one() -> list[int]:
        found = [pid for pid in exporters(folder) if pid != without]
        return found if len(found) == 1 else []

    (pid,) = eventually(one, what="an exporter")
    return pid


class Requests:
    """Numbered requests: which were answered, and what of them is at a sink.

    Args:
        server: is asked.
    """

    def __init__(self, server: GunicornServer) -> None:
        self._server = server
        self._lock = Lock()
        self._next = 0
        self.answered: set[str] = set()

    def __call__(self) -> object:
        """Send one; raises as the client of the server does."""
        with self._lock:
            self._next += 1
            path = f"/avatar/n{self._next}"
        answer = self._server.get(path)
        if answer.status == 200:
            with self._lock:
                self.answered.add(path)
        return answer

    def send(self, number: int) -> None:
        """Send so many, one after the other; each that fails is sent no second time."""
        for _ in range(number):
            try:
                self()
            except (OSError, http.client.HTTPException):
                continue

    def await_all(self, *sinks: Received) -> None:
        """Wait until all spans of each answered request have come to one of the sinks."""
        eventually(lambda: not self.missing(*sinks), what="the spans of answered requests")

    def missing(self, *sinks: Received) -> set[str]:
        """The answered requests of which not all spans are at the sinks."""
        spans: Counter[str] = Counter()
        paths = {}
        for trace, name in {(each.trace_id, each.span_id): each for each in arrived(*sinks)}.items():
            spans[trace[0]] += 1
            if name.kind == "SERVER":
                paths[trace[0]] = name.attributes["http.url"].rpartition("/avatar/")[2]
        whole = {f"/avatar/{paths[trace]}" for trace, each in spans.items() if trace in paths and each == SPANS_EACH}
        return self.answered - whole


def arrived(*sinks: Received):  # type: ignore[no-untyped-def]
    """Every span at the sinks."""
    return [span for sink in sinks for span in sink.spans()]


def times(*sinks: Received) -> Counter[str]:
    """Span id -> how often it came."""
    return Counter(span.span_id for span in arrived(*sinks))


def counted(server: GunicornServer) -> dict[str, float]:
    """``avatar_telemetry_spans_total`` by result."""
    return {
        dict(labels)["result"]: value
        for (name, labels), value in server.metrics().items()
        if name == "avatar_telemetry_spans_total" and value
    }
