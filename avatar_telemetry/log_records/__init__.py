"""The trace on log records, and log records on their way to the collector."""
