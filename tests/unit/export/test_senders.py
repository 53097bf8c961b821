"""An exporter of the SDK's interface as a sender of batches."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from avatar_telemetry.export.senders import ExporterSender


class Exporter:
    """An exporter that gives one result."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.items: list[str] = []
        self.ended = False

    def export(self, items: Sequence[str]) -> object:
        self.items += items
        return self.result

    def shutdown(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("result", "arrived"),
    [
        (SpanExportResult.SUCCESS, 2),
        (SpanExportResult.FAILURE, 0),
        (LogRecordExportResult.SUCCESS, 2),
        (LogRecordExportResult.FAILURE, 0),
    ],
)
def test_a_batch_arrives_whole_or_not(result: object, arrived: int) -> None:
    """An exporter of spans or of log records reports one result for a batch."""
    exporter = Exporter(result)
    sender = ExporterSender[str](exporter)
    assert sender.send(["one", "two"]) == arrived
    assert exporter.items == ["one", "two"]
    sender.close()
    assert exporter.ended
