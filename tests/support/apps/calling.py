"""An application that calls a service over TLS, with a client that it imports when it does."""

import os

from avatar_telemetry import instrument


def call(environ, start_response):
    import requests

    requests.get(os.environ["CALLED"], verify=os.environ["OTEL_EXPORTER_OTLP_CERTIFICATE"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"called"]


application = instrument(call)
