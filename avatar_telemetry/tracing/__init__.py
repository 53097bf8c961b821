"""Light spans: what the OpenTelemetry SDK promises of spans, for a fraction of its cost.

    sampling -> provider (tracers, spans) -> encoder -> ring -> exporter

A span keeps plain values; what is asked of it seldom (its context as an object, its attributes as a
mapping) is made when it is asked.
"""
