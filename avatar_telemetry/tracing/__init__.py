"""Light spans: what the OpenTelemetry SDK promises of spans, for a fraction of its cost.

    sampling -> provider (tracers, spans) -> encoder -> ring -> exporter

A span keeps plain values; its context as an object and its attributes as a mapping are made when
they are needed.
"""
