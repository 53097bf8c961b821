"""The probe of ``urllib.request``, with an opener that needs no network."""

from __future__ import annotations

import io
import urllib.request
import urllib.response
from email.message import Message
from typing import Any

import pytest

from avatar_telemetry.probes import LIBRARY_PROBES
from tests.support.recorder import Recorder
from tests.support.spans import Spans

URL = "http://example.org/"


class Handler(urllib.request.HTTPHandler):
    """Answers every request."""

    def http_open(self, request: urllib.request.Request) -> Any:
        body = io.BytesIO(request.get_method().encode())
        response: Any = urllib.response.addinfourl(body, Message(), request.full_url, 200)
        response.msg = "OK"
        return response


@pytest.mark.parametrize(
    ("url", "data", "method"),
    [
        pytest.param(URL, None, "GET", id="text"),
        pytest.param(URL, b"form", "POST", id="text with data"),
        pytest.param(URL, b"", "POST", id="text with empty data"),
        pytest.param(urllib.request.Request(URL), None, "GET", id="request"),
        pytest.param(urllib.request.Request(URL), b"form", "POST", id="request with data"),
        pytest.param(urllib.request.Request(URL, b"form"), None, "POST", id="request of data"),
        pytest.param(urllib.request.Request(URL, method="PUT"), None, "PUT", id="method"),
    ],
)
def test_method(
    recorder: Recorder, spans: Spans, within: Any, url: Any, data: bytes | None, method: str
) -> None:
    """The span has the method with which the request is sent."""
    LIBRARY_PROBES["urllib"]()
    opener = urllib.request.build_opener(Handler())

    def work() -> bytes:
        with spans.recording(), opener.open(url, data) as response:
            return bytes(response.read())

    assert within(work) == method.encode()
    assert dict(spans.one().attributes or {})["http.method"] == method
    assert recorder.value("ivatar_external_requests_total", success="true") == 1
