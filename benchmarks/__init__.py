"""What the telemetry costs: bare against wrapped, in turn in one run; see docs/performance.md."""
