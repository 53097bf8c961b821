"""Answers with what it understood of a request, bare or wrapped."""

import hashlib

from avatar_telemetry import instrument


def bare(environ, start_response):
    body = environ["wsgi.input"].read()
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SCRIPT_NAME", "CONTENT_TYPE",
             "CONTENT_LENGTH", "HTTP_COOKIE", "HTTP_X_ODD", "SERVER_PROTOCOL")  # fmt: skip
    seen = repr([environ.get(name) for name in names]) + hashlib.sha256(body).hexdigest()
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Seen", str(len(body)))])
    return [seen.encode("utf-8", "surrogateescape")]


application = instrument(bare)
