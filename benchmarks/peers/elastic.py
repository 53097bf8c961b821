"""Elastic APM: it has no WSGI middleware that makes transactions, so its API is used as its Flask
integration does."""

from __future__ import annotations

from typing import Any

import elasticapm
from elasticapm.utils.wsgi import get_environ, get_headers

from benchmarks.applications import bare
from benchmarks.peers import SAMPLE, SINK, Wrapped


class Middleware:
    """One transaction a request."""

    def __init__(self, application: Any, client: elasticapm.Client) -> None:
        self.application = application
        self.client = client

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        parent = elasticapm.trace_parent_from_headers(dict(get_headers(environ)))
        self.client.begin_transaction("request", trace_parent=parent)
        elasticapm.set_context(
            lambda: {"env": dict(get_environ(environ)), "method": environ["REQUEST_METHOD"]},
            "request",
        )
        try:
            return self.application(environ, start_response)
        finally:
            elasticapm.set_transaction_outcome(http_status_code=200)
            self.client.end_transaction("GET /avatar", "HTTP 2xx")


def wrap(name: str) -> Wrapped:
    """The application inside the middleware above."""
    client = elasticapm.Client(
        service_name="benchmark",
        server_url=SINK,
        transaction_sample_rate=SAMPLE,
        central_config=False,
        cloud_provider="none",
        metrics_interval="0s",
        use_elastic_traceparent_header=False,
        api_request_time="1s",
    )
    return Wrapped(Middleware(bare(name), client), client._transport.flush)
