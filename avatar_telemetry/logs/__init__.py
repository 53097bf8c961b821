"""Log records: correlation with traces, formatters, and export."""

from __future__ import annotations

from avatar_telemetry.logs.formatters import JsonFormatter, TraceFormatter

__all__ = ["JsonFormatter", "TraceFormatter"]
