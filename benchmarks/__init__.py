"""The cost of the telemetry: bare against wrapped, in turn in one run; see docs/performance.md."""
