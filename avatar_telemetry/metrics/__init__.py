"""Metrics: instruments in mapped files, slots, the merged store, and the metrics page."""
