"""What level DEBUG tells, in the words of a real log, whichever logger an operator turns on."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest

from tests.support.gunicorn_server import GunicornServer, Serve, eventually
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import SinkProcess
from tests.support.paths import DOCS
from tests.support.rows import by_default

PAGE = DOCS / "operating.md"
SECRETS = {
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20sEcret-header",
    "AVATAR_TELEMETRY_HASH_KEY": "sEcret-hash-key",
    "AVATAR_TELEMETRY_METRICS_TOKEN": "sEcret-token",
}
CLIENTS = {"Cookie": "session=sEcret-cookie", "Authorization": "Bearer sEcret-own"}


def logging_of(level: str, *loggers: str) -> str:
    """A LOGGING as of Django's settings, which says nothing of any other logger."""
    handler = {"class": "logging.StreamHandler", "formatter": "plain"}
    return json.dumps(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"plain": {"format": "LOG %(name)s %(levelname)s %(message)s"}},
            "handlers": {"console": handler},
            "loggers": {name: {"level": level, "handlers": ["console"]} for name in loggers},
        }
    )


def serve_logged(
    serve: Serve, sink: SinkProcess, logging: str, **env: str | None
) -> GunicornServer:
    endpoint = f"{sink.url}/v1/traces?key=sEcret-query"
    return serve(
        "logged:application",
        workers=1,
        env={
            "LOGGING": logging,
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            **SECRETS,
            **env,
        },
    )


@pytest.mark.parametrize(
    "loggers",
    by_default("opentelemetry", [
        pytest.param(("opentelemetry",), id="opentelemetry"),
        pytest.param(("avatar_telemetry",), id="avatar_telemetry"),
        pytest.param(("ivatar.opentelemetry",), id="ivatar.opentelemetry"),
        pytest.param(("opentelemetry", "ivatar.opentelemetry"), id="both"),
    ]),
)  # fmt: skip
def test_debug_tells_what_happens(
    serve: Serve, sink_process: SinkProcess, loggers: tuple[str, ...]
) -> None:
    """What is configured and sampled is logged once by one logger, what is sent by the exporter,
    and no secret is in it."""
    # The page names the default time-out, and nothing else may.
    default = {"OTEL_EXPORTER_OTLP_TIMEOUT": None}
    server = serve_logged(serve, sink_process, logging_of("DEBUG", *loggers), **default)
    eventually(lambda: "series pushed" in server.log(), what="the exporter's first message")
    server.request("GET", "/avatar/sEcretdigest?email=sEcret@mail", headers=CLIENTS)
    sink_process.await_spans(2)
    log = eventually(lambda: "spans exported" in server.log() and server.log())
    told = [line for line in log.splitlines() if line.startswith("LOG ")]
    assert told and all(line.split()[1].startswith(loggers) for line in told)

    def lines(text: str) -> list[str]:
        return [line for line in told if text in line]

    assert len(lines("configured: sampler parentbased_always_on, privacy balanced")) == 1
    (traces,) = lines("configured: traces to ")
    assert f"traces to {sink_process.url}/v1/traces (http/protobuf, 10 s, " in traces
    assert len(lines("configured: metrics to ")) == 1
    (sampled,) = lines("GET /avatar/{id}: trace ")
    assert f" {sink_process.spans()[0].trace_id} is sampled" in sampled
    assert log.count("DEBUG] avatar_telemetry exporter: 2 spans exported") == 1
    assert "sEcret" not in server.log()


def test_debug_tells_of_what_does_not_leave(serve: Serve, sink_process: SinkProcess) -> None:
    """Traces that are not sampled, spans that failed and spans that were dropped are told."""
    sink_process.behave(Fault.BLACKHOLE)
    server = serve_logged(
        serve, sink_process, logging_of("DEBUG", "avatar_telemetry"),
        OTEL_BSP_MAX_QUEUE_SIZE="1", OTEL_EXPORTER_OTLP_TIMEOUT="0.3",
        AVATAR_TELEMETRY_TRUST_INCOMING="continue",
    )  # fmt: skip
    eventually(lambda: server.get("/avatar/abc") and "spans dropped: 2" in server.log())
    eventually(lambda: "cannot export spans" in server.log())
    not_sampled = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}
    server.get("/avatar/abc", headers=not_sampled)
    eventually(lambda: f"trace {'1' * 32} is not sampled" in server.log())
    assert "sEcret" not in server.log()


def test_debug_says_that_the_export_is_off(serve: Serve, sink_process: SinkProcess) -> None:
    """Who looks for traces that are not there reads why."""
    logging = logging_of("DEBUG", "ivatar.opentelemetry")
    server = serve_logged(serve, sink_process, logging, OTEL_EXPORT_ENABLED="false")
    server.get("/avatar/abc")
    eventually(lambda: "configured: OTEL_EXPORT_ENABLED is false" in server.log())


def block(name: str) -> str:
    """The block of the page that is in this file."""
    (found,) = re.findall(rf"```python\n# {name}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def test_the_configuration_of_gunicorn_on_the_page(serve: Serve) -> None:
    """It shows what an application that configures no logging does not; gunicorn's own stays, and
    gunicorn's log level alone shows none of it."""
    env = {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    server = serve(
        "answers:application", name="page", workers=1, config=block("gunicorn.conf.py"), env=env
    )
    other = serve("answers:application", name="level", workers=1, loglevel="debug", env=env)
    for each in (server, other):
        each.get("/avatar/abc")
    eventually(lambda: re.search(r"\[DEBUG\] GET /avatar/\{id\}: trace ", server.log()))
    assert "[DEBUG] configured: traces to " in server.log()
    assert "[INFO] Booting worker" in server.log()
    assert "[DEBUG]" in other.log() and "configured:" not in other.log()


def test_the_logging_of_django_on_the_page(serve: Serve, sink_process: SinkProcess) -> None:
    """It shows what is told; without its handler, the level alone shows nothing."""
    scope: dict[str, Any] = {}
    exec(block("settings.py"), scope)
    told = scope["LOGGING"]
    no_handler = {**told, "loggers": {"ivatar.opentelemetry": {"level": "DEBUG"}}}
    logs = []
    for number, each in enumerate((told, no_handler)):
        env = {"LOGGING": json.dumps(each), "OTEL_EXPORT_ENABLED": "true",
               "OTEL_EXPORTER_OTLP_ENDPOINT": sink_process.url}  # fmt: skip
        server = serve("logged:application", name=str(number), workers=1, env=env)
        server.get("/avatar/abc")
        server.signal(signal.SIGTERM)
        server.wait()
        logs.append(server.log())
    assert ["configured: traces to" in log for log in logs] == [True, False]


def test_without_debug_nothing_is_told(serve: Serve, sink_process: SinkProcess) -> None:
    """At level INFO a server whose collector is well has nothing to say."""
    loggers = ("opentelemetry", "avatar_telemetry", "ivatar.opentelemetry")
    server = serve_logged(serve, sink_process, logging_of("INFO", *loggers))
    server.get("/avatar/abc")
    sink_process.await_spans(2)
    server.signal(signal.SIGTERM)
    server.wait()
    assert not [line for line in server.log().splitlines() if line.startswith("LOG ")]
