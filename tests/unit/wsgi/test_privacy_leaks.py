"""Marked secrets go in by every route; what of them leaves the process is looked for everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from avatar_telemetry.profiles.ivatar import PROFILE
from tests.support import privacy_driver as marked
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import REPOSITORY
from tests.support.rows import by_default, rows

NEVER = {
    "cookie": marked.COOKIE, "referer": marked.REFERER, "credentials": marked.CREDENTIALS,
    "baggage": marked.BAGGAGE, "body": marked.BODY, "location": marked.LOCATION,
    "host": marked.HOST, "tracestate": marked.STATE,
}  # fmt: skip
# What is told as it came where the operator switched privacy off.
PERSONAL = {
    "digest": marked.DIGEST, "email": marked.EMAIL, "user": marked.USER, "token": marked.TOKEN,
    "key": marked.KEY, "file": marked.FILE, "query": marked.QUERY, "agent": marked.AGENT,
    "address": marked.ADDRESS, "message": marked.MESSAGE,
}  # fmt: skip
ODD = {"method": marked.METHOD}
TOLD: dict[str, dict[str, str]] = {"strict": {}, "balanced": ODD, "off": {**PERSONAL, **ODD}}


@dataclass
class Run:
    """The output of one run of the driver."""

    mode: str
    spans: int
    sent: str
    page: str
    log: str

    def found(self, secrets: dict[str, str]) -> set[str]:
        """The names of the secrets that left the process, wherever."""
        everything = (self.sent + self.page + self.log).lower()
        return {
            name for name, secret in secrets.items()
            if any(form.lower() in everything for form in forms(secret))
        }  # fmt: skip


def forms(secret: str) -> set[str]:
    """A secret as it came, percent-encoded, and without what a cleaner may have cut off."""
    return {secret, quote(secret), quote(secret, safe=""), secret.partition("@")[0]}


@pytest.fixture(scope="module", params=by_default("balanced", rows(*TOLD)))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return drive(request.param, tmp_path_factory.mktemp("run"))


def drive(mode: str, folder: Path) -> Run:
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "AVATAR_", "PROMETHEUS_", "COV_"))}  # fmt: skip
    with OtlpSink() as sink:
        environ = {
            **kept,
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "30",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
            "AVATAR_TELEMETRY_RING_SIZE": "8000000",
            "AVATAR_TELEMETRY_PRIVACY": mode,
            "AVATAR_TELEMETRY_KEEP": "errors, ratio:1",
            "AVATAR_TELEMETRY_TRUST_INCOMING": "continue",
            "AVATAR_TELEMETRY_FLUSH_TIMEOUT": "60",
        }
        command = [sys.executable, "-m", "tests.support.privacy_driver"]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        exchanges = sink.exchanges()
        sent = "".join(
            repr(each.headers) + each.content.decode("utf-8", "replace") for each in exchanges
        )
        paths = {each.path for each in exchanges}
        assert paths == {"/v1/traces", "/v1/metrics"}, done.stderr[-3000:]
        return Run(mode, len(sink.spans()), sent, done.stdout, done.stderr)


def test_every_route_is_driven() -> None:
    """The driver has a path for each route of the profile; aliases of one template count once."""
    templates = {route.template for route in PROFILE.routes}
    assert templates <= set(marked.paths())


def test_what_leaves(run: Run) -> None:
    """Of what is personal nothing leaves in strict and balanced, and what was meant to in off."""
    assert run.found({**PERSONAL, **ODD}) == set(TOLD[run.mode])


def test_what_never_leaves(run: Run) -> None:
    """Cookies, credentials, bodies, referers, baggage and a tracestate leave in no mode."""
    assert run.found(NEVER) == set()
    assert "ot=th:8" in run.sent


def test_exemplars_have_ids_alone(run: Run) -> None:
    """An exemplar names a trace and a span, with a value and a time, in every mode."""
    exemplars = [line.partition(" # ")[2] for line in run.page.splitlines() if " # {" in line]
    expected = r'\{span_id="[0-9a-f]{16}",trace_id="[0-9a-f]{32}"\} [0-9.e+-]+ [0-9]+\.[0-9]{3}'
    assert len(exemplars) > 20
    assert all(re.fullmatch(expected, each) for each in exemplars)


def test_the_client_network(run: Run) -> None:
    """In balanced the client's network is told, in strict not even that."""
    assert ("203.0.113.0" in run.sent) == (run.mode == "balanced")


def test_everything_was_sent(run: Run) -> None:
    """There was something to find: the spans of all requests, the page, and log records."""
    requests = sum(len(list(marked.requests(path))) for path in marked.paths().values())
    servers = run.sent.count("GET /contact/"), run.sent.count("POST /accounts/login/")
    assert run.spans >= requests
    assert all(servers)
    assert "code.stacktrace" in run.sent
    assert "worker aborted (SIGABRT) during a request" in run.log
    assert 'ivatar_requests_total{method="GET",path="/contact/",status_code="200"} 1.0' in run.page
    assert "ERROR" not in run.log
    assert "DEBUG" in run.log
