"""Answers with the path and the headers that arrived, as JSON."""

import json

from avatar_telemetry import instrument


def answer(environ, start_response):
    environ["wsgi.input"].read()
    names = [name for name in environ if name.startswith("HTTP_")]
    seen = {name: environ[name] for name in [*names, "PATH_INFO", "RAW_URI"]}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]


application = instrument(answer)
