"""Metrics and spans that an application records itself."""
