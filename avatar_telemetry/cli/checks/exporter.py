"""The exporter of a running server: whether it responds, what waits in the rings, the last errors.

Nothing is changed and no lock is taken: the lock of the exporter may only be tried by workers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from avatar_telemetry.cli.checks.finding import Finding, good, note, select, warning
from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.otlp import SIGNALS, Signal
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.failures import NAMES
from avatar_telemetry.exporter.last_error import read_last_error
from avatar_telemetry.exporter.page import fetch
from avatar_telemetry.exporter.record import read_record
from avatar_telemetry.exporter.ring_file import (
    COUNT_BITS,
    DROPPED_LOGS,
    DROPPED_SPANS,
    CorruptRing,
    RingFile,
    rings,
)
from avatar_telemetry.exporter.ring_reader import RingReader
from avatar_telemetry.exporter.rings import encode_request
from avatar_telemetry.metrics.exposition import Variant

RING_NAMES: dict[Signal, str] = {"traces": "spans", "logs": "logs"}
MAX_FILLED = 0.8
"""Share of a ring from which on it is nearly full."""
MAX_RETRY_TIME = 15.0
"""Seconds for two attempts and the pauses between them, in addition to delay and timeout."""
PLAIN = Variant(openmetrics=False, gzip=False)
ATTEMPTS = 3
"""Requests before an exporter counts as missing: it closes a connection that stalls."""
RESTARTS = "The next request starts another one; if it does not, see the server's log."
COMMAND = (b"avatar-telemetry", b"exporter")
"""Arguments of the exporter's process, before the directory."""


@dataclass(frozen=True)
class Waiting:
    """The state of a signal's rings.

    Args:
        rings: the number of rings.
        items: the number of spans or log records that wait.
        age: the seconds since the oldest of them ended; 0.0 where none waits or it is unknown.
        dropped: the number of items that found no space, since the start of the server.
        filled: the largest share of a ring that is in use.
        unreadable: the rings that cannot be read.
    """

    rings: int = 0
    items: int = 0
    age: float = 0.0
    dropped: int = 0
    filled: float = 0.0
    unreadable: tuple[str, ...] = ()


def check_exporter(settings: Settings, path: Path, timeout: float) -> Iterator[Finding]:
    """Check the exporter of a runtime directory that a server uses, with a timeout in seconds for
    its response."""
    record = read_record(path)
    if record is None or not record.wanted:
        return
    # Those of the server, whose settings may be others than those of this environment.
    found = {signal: read_rings(path, name) for signal, name in RING_NAMES.items()}
    found = {signal: each for signal, each in found.items() if each.rings}
    findings = [_check_process(path, found, timeout)]
    for signal, each in found.items():
        findings += _check_rings(settings, signal, each)
    for signal in SIGNALS:
        findings += _check_last_error(path, signal)
    for finding in findings:
        yield replace(finding, message=f"{path}: {finding.message}")


def read_rings(path: Path, name: str) -> Waiting:
    """Read the rings of a signal in a runtime directory, without changing them.

    Args:
        path: the directory.
        name: the name of the rings: ``spans`` or ``logs``.
    """
    items = dropped = 0
    age = filled = 0.0
    unreadable: list[str] = []
    try:
        paths = rings(path, name).values()
    except OSError:  # the server has ended
        return Waiting()
    for ring in paths:
        try:
            file = RingFile(ring)
            try:
                read, written = file.bounds()
                used = (written >> COUNT_BITS) - (read >> COUNT_BITS)
                filled = max(filled, used / file.capacity)
                items += file.waiting
                dropped += file.words[DROPPED_LOGS if name == "logs" else DROPPED_SPANS]
                waits = bool(file.waiting)
            finally:
                file.close()
            if waits:
                age = max(age, _oldest_age(ring, name))
        except FileNotFoundError:
            continue  # the server ends
        except (OSError, CorruptRing):
            unreadable.append(ring.name)
    return Waiting(len(paths), items, age, dropped, filled, tuple(unreadable))


def find_process(path: Path) -> int:
    """Return the pid of the exporter of a runtime directory; 0 for a thread of a worker."""
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with suppress(OSError):
            arguments = Path("/proc", entry, "cmdline").read_bytes() if entry.isdigit() else b""
            if (b"\0".join((*COMMAND, os.fsencode(path))) + b"\0") in arguments:
                return int(entry)
    return 0


def _check_process(path: Path, found: Mapping[Signal, Waiting], timeout: float) -> Finding:
    amounts = [f"waiting {NAMES[signal]}: {each.items}" for signal, each in found.items()]
    waiting = "".join(f"; {each}" for each in amounts)
    pid = find_process(path)
    host = f"process {pid}" if pid else "a thread of a worker"
    try:
        responds = _responds(path, timeout)
    except TimeoutError:
        return warning("exporter.silent", f"the exporter ({host}) does not respond",
                       "It is stopped or busy; if this remains, end it: a new one starts and"
                       " continues.")  # fmt: skip
    if not responds:
        return warning("exporter.not_running", f"no exporter responds{waiting}", RESTARTS)
    return good("exporter.running", f"the exporter runs ({host}){waiting}")


def _responds(path: Path, timeout: float) -> bool:
    """Return whether an exporter responds.

    Raises:
        TimeoutError: it has accepted the connection, and sent nothing in time.
    """
    for _ in range(ATTEMPTS):
        try:
            fetch(path, PLAIN, timeout)
            return True
        except TimeoutError:
            raise
        except (OSError, ValueError):
            continue
    return False


def _check_rings(settings: Settings, signal: Signal, found: Waiting) -> Iterator[Finding]:
    name = NAMES[signal]
    delay = settings.schedule_delay if signal == "traces" else settings.log_schedule_delay
    max_age = delay / 1000 + settled(settings, signal).timeout + MAX_RETRY_TIME
    yield from select(
        (found.age > max_age, "warning", "exporter.lag",
         f"waiting {name}: {found.items}, the oldest for {_duration(found.age)}",
         "They are sent when the collector accepts them; exporter.last_error and the checks of the"
         " collector have the cause."),
        (found.filled > MAX_FILLED, "warning", "exporter.ring_full",
         f"the ring of a worker is {found.filled:.0%} full; what does not fit is dropped",
         "Correct the export, record fewer traces (OTEL_TRACES_SAMPLER=parentbased_traceidratio),"
         " or raise AVATAR_TELEMETRY_RING_SIZE."),
        (found.dropped, "warning", "exporter.dropped",
         f"dropped {name} since the start, because a ring was full: {found.dropped}",
         "Raise OTEL_BSP_MAX_QUEUE_SIZE and AVATAR_TELEMETRY_RING_SIZE, or record fewer traces."
         if signal == "traces" else
         "Raise OTEL_BLRP_MAX_QUEUE_SIZE and AVATAR_TELEMETRY_RING_SIZE."),
        (found.unreadable, "warning", "exporter.unreadable",
         f"rings that cannot be read: {', '.join(found.unreadable)}",
         "Run the doctor as the server's user; the exporter sets corrupt rings aside."),
    )  # fmt: skip


def _check_last_error(path: Path, signal: Signal) -> Iterator[Finding]:
    last = read_last_error(path, signal)
    if last is None:
        return
    ago = _duration(time.time() - last.at)
    if last.resolved_at:
        yield note(
            "exporter.last_error", f"the export works again; its last error, {ago} ago:"
            f" {last.message}",
        )  # fmt: skip
    else:
        yield warning(
            "exporter.last_error", f"the last error, {ago} ago: {last.message}",
            "The exporter retries, and keeps what fits into the rings; correct the endpoint or the"
            " collector.",
        )  # fmt: skip


def _oldest_age(ring: Path, name: str) -> float:
    """Return the seconds since the end of the first item in a ring, 0.0 where it is not readable.

    Its exporter may remove the frame meanwhile.
    """
    try:
        reader = RingReader(ring)
        try:
            request, _ = encode_request(reader.read(1, 1).frames)
        finally:
            reader.close()
        ends = _log_times(request) if name == "logs" else _span_times(request)
    except (OSError, CorruptRing, DecodeError):
        return 0.0
    return max(0.0, time.time() - min(ends) / 1e9) if ends else 0.0


def _span_times(request: bytes) -> list[int]:
    message = ExportTraceServiceRequest.FromString(request)
    return [
        span.end_time_unix_nano
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _log_times(request: bytes) -> list[int]:
    message = ExportLogsServiceRequest.FromString(request)
    return [
        record.observed_time_unix_nano or record.time_unix_nano
        for resource in message.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _duration(seconds: float) -> str:
    """Return a duration for a person.

    >>> _duration(75)
    '75 s'
    """
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
