"""Sentry's WSGI middleware with performance tracing."""

from __future__ import annotations

import sentry_sdk
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

from benchmarks.applications import bare
from benchmarks.peers import SAMPLE, SINK, Wrapped


def wrap(name: str) -> Wrapped:
    """The application inside the middleware: one transaction a request."""
    sentry_sdk.init(
        dsn=SINK.replace("http://", "http://key@") + "/1",
        traces_sample_rate=SAMPLE,
        auto_enabling_integrations=False,
    )
    return Wrapped(SentryWsgiMiddleware(bare(name)), sentry_sdk.flush)
