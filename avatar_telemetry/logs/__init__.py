"""Log records: their trace, their formatters, and how they reach the exporter."""

from __future__ import annotations

from avatar_telemetry.logs.formatters import JsonFormatter, TraceFormatter

__all__ = ["JsonFormatter", "TraceFormatter"]
