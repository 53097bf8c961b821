"""A runtime folder with a worker, and the exporter of it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from avatar_telemetry import Settings
from avatar_telemetry._base.files import lock_own
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter.counts import IDENTIFIER
from avatar_telemetry.exporter.page import fetch
from avatar_telemetry.exporter.record import Record, make_record
from avatar_telemetry.metrics.exposition import Variant
from avatar_telemetry.metrics.slots import EXPORTER_LOCK, Slot, claim_slot
from tests.support.otlp_sink import OtlpSink
from tests.support.rings import Worker
from tests.support.samples import samples_in

QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_METRIC_EXPORT_INTERVAL": "100"}
PATIENT = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": "300", "OTEL_METRIC_EXPORT_TIMEOUT": "3600000",
    "OTEL_BSP_EXPORT_TIMEOUT": "0", "OTEL_BLRP_EXPORT_TIMEOUT": "0",
    "AVATAR_TELEMETRY_FLUSH_TIMEOUT": "60",
}  # fmt: skip
"""The longest times that are allowed: with the defaults, a process that the machine stops for some
seconds sends a batch twice, or leaves the last one in its ring."""
USER = os.getuid(), os.getgid()


def exporting(sink: OtlpSink, **environ: str) -> dict[str, str]:
    """The variables of an exporter that sends to a sink."""
    return {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, **environ}


class Host:
    """A folder whose slot 0 this process holds, with the settings of a server.

    Args:
        folder: the runtime folder.
        environ: of the settings.
    """

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {**QUICK, **PATIENT, **environ}
        self.failures: list[str] = []
        self.guard = Guard(self.failures.append)
        self.slot: Slot | None = claim_slot(folder)
        self.worker = Worker(folder)

    @property
    def settings(self) -> Settings:
        return Settings.from_env(self.environ)

    def record(self, *, master: int = 0, **environ: str) -> Record:
        """The record of this process, with further variables."""
        return make_record({**self.environ, **environ}, master, since=time.monotonic())

    def ending(self, deadline: float) -> Record:
        """The same at the end of the server."""
        return replace(self.record(), ends_at=deadline)

    def lock(self) -> int:
        """Take the lock of the exporter."""
        lock = lock_own(self.folder / EXPORTER_LOCK)
        assert lock is not None
        return lock

    def is_free(self) -> bool:
        """Return whether no exporter has the lock."""
        lock = lock_own(self.folder / EXPORTER_LOCK)
        if lock is not None:
            os.close(lock)
        return lock is not None

    def counted(self, name: str, **labels: str) -> float:
        """The value of a counter of the exporter."""
        samples = samples_in(self.folder, (IDENTIFIER,))
        return samples.get((name, frozenset(labels.items())), 0.0)

    def internal_errors(self) -> dict[str, float]:
        """The internal errors of the exporter by place."""
        return {
            dict(labels)["where"]: value
            for (name, labels), value in samples_in(self.folder, (IDENTIFIER,)).items()
            if name == "avatar_telemetry_internal_errors_total"
        }

    def serves_page(self) -> bool:
        """Return whether an exporter serves the page."""
        try:
            return bool(fetch(self.folder, Variant(openmetrics=False, gzip=False)))
        except (OSError, ValueError):
            return False

    def end_worker(self) -> None:
        """The worker ends: its slot has no living holder."""
        if self.slot is not None:
            (self.folder / "slot-0.lock").unlink(missing_ok=True)
            self.slot.close()
            self.slot = None

    def close(self) -> None:
        self.end_worker()
        self.worker.ring.close()
