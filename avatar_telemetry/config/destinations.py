"""Exporters that the settings enable, and the destination of each signal. Imports no exporter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.util import find_spec

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.log import LOGGER, debug
from avatar_telemetry.config.otlp import (
    COMPRESSION,
    GRPC,
    PROTOCOL,
    SIGNALS,
    Otlp,
    Signal,
    resolve,
)
from avatar_telemetry.config.settings import Settings

GRPC_PACKAGE = "opentelemetry.exporter.otlp.proto.grpc"


def sends(settings: Settings) -> bool:
    """Return whether an exporter is needed: to send, or to serve the separate port."""
    return exports(settings) or bool(settings.prometheus_endpoint and not settings.sdk_disabled)


def pushes_metrics(settings: Settings) -> bool:
    """Return whether metrics are pushed."""
    return exports(settings) and bool({"otlp", "console"} & set(settings.metrics_exporters))


def check_exporters(settings: Settings) -> None:
    """Check the OTLP settings at the start of the master, and log each protocol that was derived.

    Raises:
        SettingsError: gRPC is required and not installed, or its compression is not supported.
    """
    notes = {}
    faults = []
    for signal in otlp_signals(settings):
        configured = settings.otlp[signal]
        if configured.protocol == GRPC and not grpc_installed():
            faults.append(f"{PROTOCOL}={GRPC!r}: requires pip install 'avatar-telemetry[grpc]'")
        if configured.protocol == GRPC and configured.compression == "deflate":
            faults.append(f"{COMPRESSION}='deflate': must be none or gzip with {PROTOCOL}={GRPC!r}")
        settled, note = resolve(signal, configured, grpc_installed=grpc_installed())
        notes[note] = logging.INFO if settled.protocol == GRPC else logging.WARNING
    if faults:
        raise SettingsError(*dict.fromkeys(faults))
    for note, level in notes.items():
        if note:
            LOGGER.log(level, "OTLP: %s", note)


def settled(settings: Settings, signal: Signal) -> Otlp:
    """Return the OTLP settings of a signal with its final protocol."""
    return resolve(signal, settings.otlp[signal], grpc_installed=grpc_installed())[0]


def grpc_installed() -> bool:
    """Return whether the extra ``grpc`` is installed, without importing it."""
    try:
        return find_spec(GRPC_PACKAGE) is not None and find_spec("grpc") is not None
    except ModuleNotFoundError:
        return False


def log_configured(settings: Settings) -> None:
    """Log sampler, privacy mode and destinations at level DEBUG."""
    if not settings.export_enabled:
        debug("configured: OTEL_EXPORT_ENABLED is false, no span is recorded, nothing is exported")
        return
    sampler = f"{settings.sampler} {settings.sampler_argument}".strip()
    debug("configured: sampler %s, privacy %s", sampler, settings.privacy)
    for signal in SIGNALS:
        exporters = getattr(settings, f"{signal}_exporters")
        debug("configured: %s to %s", signal, ", ".join(_described(settings, signal, exporters)))


def destinations(settings: Settings) -> str:
    """Return the destination of each signal, for the log."""
    if not settings.export_enabled:
        return "off"
    return (
        ", ".join(
            f"{signal} to {' and '.join(_places(settings, signal))}"
            for signal in SIGNALS
            if getattr(settings, f"{signal}_exporters") != ("none",)
        )
        or "off"
    )


def _places(settings: Settings, signal: Signal) -> Iterator[str]:
    for name in getattr(settings, f"{signal}_exporters"):
        if name == "otlp":
            otlp = settled(settings, signal)
            yield f"{otlp.place} ({otlp.protocol})"
        else:
            yield name


def otlp_signals(settings: Settings) -> Iterator[Signal]:
    """Yield the signals that are sent over OTLP."""
    for signal in SIGNALS:
        if exports(settings) and "otlp" in getattr(settings, f"{signal}_exporters"):
            yield signal


def ring_signals(settings: Settings) -> dict[Signal, tuple[str, ...]]:
    """Return the signals that workers write into their rings, each with its exporters."""
    both: dict[Signal, tuple[str, ...]] = {
        "traces": settings.traces_exporters,
        "logs": settings.logs_exporters,
    }
    wanted = both.items() if exports(settings) else ()
    return {signal: exporters for signal, exporters in wanted if exporters != ("none",)}


def exports(settings: Settings) -> bool:
    """Return whether the export is enabled. Spans are recorded then, even if none is sent, for span
    processors of the application."""
    return settings.export_enabled and not settings.sdk_disabled


def _described(settings: Settings, signal: Signal, exporters: tuple[str, ...]) -> Iterator[str]:
    for name in exporters:
        if name == "otlp":
            otlp = settled(settings, signal)
            options = f"{otlp.protocol}, {otlp.timeout:g} s, compression {otlp.compression}"
            yield f"{otlp.place} ({options})"
        else:
            yield name
