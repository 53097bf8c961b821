"""Light spans: the span interfaces of the OpenTelemetry SDK at a fraction of its cost.

    sampling -> provider (tracers, spans) -> encoder -> ring -> exporter

A span stores plain values; the object of its context and the mapping of its attributes are created
on demand.
"""
