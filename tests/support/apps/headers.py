"""Responds with the path and the headers that arrived and the trace id, as JSON."""

import json

from avatar_telemetry import instrument


def answer(environ, start_response):
    environ["wsgi.input"].read()
    names = [name for name in environ if name.startswith("HTTP_")]
    names += ["PATH_INFO", "RAW_URI", "avatar_telemetry.trace_id"]
    seen = {name: environ[name] for name in names if name in environ}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]


application = instrument(answer)
