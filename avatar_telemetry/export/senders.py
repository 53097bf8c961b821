"""What a queue sends with: any exporter of the SDK's, and those of OTLP over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from avatar_telemetry.config.otlp import Otlp
from avatar_telemetry.export.exporters import http_options
from avatar_telemetry.log import debug
from avatar_telemetry.otel_private import stop_retries

Item = TypeVar("Item")


class ExporterSender(Generic[Item]):
    """Any exporter of the SDK's interface; a :class:`~avatar_telemetry.tracing.queue.Sender`.

    Args:
        exporter: of spans or of log records.
    """

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def send(self, items: Sequence[Item]) -> int:
        """Send a batch; how many of it arrived."""
        return len(items) if self._exporter.export(items).name == "SUCCESS" else 0

    def hurry(self) -> None:
        """It has no way to be told."""

    def renew(self) -> None:
        """It has to know of forks by itself, as the SDK's own do."""

    def close(self) -> None:
        """Shut it down."""
        self._exporter.shutdown()


class OtlpSender(ExporterSender[Item]):
    """OTLP over HTTP: session, headers, compression, TLS and retries are the standard exporter's.

    Args:
        make: the class of the exporter.
        otlp: where and how.
        response: the message that a collector answers with.
        refused: its field of a partial success.
        things: what is sent, for the log.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        otlp: Otlp,
        response: type[Message],
        refused: str,
        things: str,
    ) -> None:
        options = http_options(otlp)
        super().__init__(make(**options))
        self._session = options["session"]
        self._response = response
        self._field = refused
        self._things = things
        # Under this name it is throttled with the exporter's own failures.
        self._logger = logging.getLogger(make.__module__)

    def send(self, items: Sequence[Item]) -> int:
        """Send a batch, and try again while there is time; how many of it arrived."""
        if not self._export(items):
            return 0
        # A collector may report any number: what was not sent cannot be refused.
        refused = min(max(self._refused(self._session.answer), 0), len(items))
        if refused:
            message = "The collector refused %d %s of %d."
            self._logger.error(message, refused, self._things, len(items))
        return len(items) - refused

    def hurry(self) -> None:
        """From now on each batch has one try."""
        stop_retries(self._exporter)

    def renew(self) -> None:
        """In a forked child: connections of its own."""
        self._session.renew()

    def _export(self, items: Sequence[Item]) -> bool:
        return super().send(items) > 0

    def _refused(self, answer: bytes) -> int:
        """How many a collector says that it did not take (OTLP, partial success)."""
        if not answer:
            return 0
        try:
            partial = self._response.FromString(answer).partial_success
        except DecodeError:
            debug("an answer of %d bytes that is no OTLP", len(answer))
            return 0
        return int(getattr(partial, self._field))
