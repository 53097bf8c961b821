"""Logs of a real gunicorn: correlated, as JSON, in the access log, and over OTLP."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.gunicorn_server import HOST, GunicornServer, Serve, eventually
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import DOCS
from tests.support.rows import PRELOAD, by_default

PAGE = DOCS / "logging.md"
# The page's configuration with its output in a file, and beside it the lines that the tests' server
# reads, in a format that names the trace.
CHANGED = """
logconfig_dict["handlers"]["out"] = {
    "class": "logging.FileHandler", "filename": "out.json", "formatter": "json"}
logconfig_dict["formatters"]["lines"] = {
    "format": "[%(process)d] [%(levelname)s] %(message)s [%(trace_id)s %(service_name)s]"}
logconfig_dict["handlers"]["lines"] = {"class": "logging.StreamHandler", "formatter": "lines"}
logconfig_dict["loggers"]["gunicorn.error"]["handlers"] = ["out", "lines"]
"""


def the_page() -> str:
    (found,) = re.findall(r"```python\n(# gunicorn.conf.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def records(server: GunicornServer, **wanted: Any) -> list[dict[str, Any]]:
    """What stands in the file, each line an object of its own."""
    lines = (server.path / "out.json").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [each for each in found if each.items() >= wanted.items()]


def written(server: GunicornServer, number: int, **wanted: Any) -> list[dict[str, Any]]:
    """The same, once there are so many."""
    return eventually(lambda: len(found := records(server, **wanted)) >= number and found)


def exporting(sink: OtlpSink, **more: str | None) -> dict[str, str | None]:
    return {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "pictures", **more,
    }  # fmt: skip


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_the_configuration_of_the_page(sink: OtlpSink, serve: Serve, preload: bool) -> None:
    """Every record of master and workers is JSON; those of a request bear its trace, and the access
    log names it with what became of the request."""
    server = serve(
        "logging_app:application", config=the_page() + CHANGED, preload_app=preload,
        env=exporting(sink, OTEL_TRACES_EXPORTER="otlp"),
    )  # fmt: skip
    answer = server.get("/shop")
    assert re.fullmatch("[0-9a-f]{32}", answer.text)
    (warned,) = written(server, 1, logger="shop", level="WARNING")
    assert warned["trace_id"] == answer.text
    assert (warned["trace_sampled"], warned["service.name"], warned["tries"]) == (
        True, "pictures", 3,
    )  # fmt: skip
    assert warned["message"] == "no picture for ann@example.org"
    (quiet,) = records(server, logger="shop", level="INFO")
    assert quiet["span_id"] == warned["span_id"]

    def accesses() -> list[str]:
        lines = [each["message"] for each in records(server, logger="gunicorn.access")]
        return [line for line in lines if "/shop" in line]

    (line,) = eventually(accesses)  # the server logs it when the answer has gone
    assert line.endswith(f" {answer.text} GET")
    assert server.get("/fail").status == 500
    (failed,) = written(server, 1, level="ERROR", logger="gunicorn.error")
    assert failed["exception.type"] == "ValueError"
    assert "ann@" not in failed["exception.message"]
    (started,) = [each for each in records(server) if "Starting gunicorn" in each["message"]]
    assert "trace_id" not in started
    assert "[INFO] Worker is ready [0 pictures]" in server.log()
    assert "Logging error" not in server.log()
    eventually(lambda: answer.text in {span.trace_id for span in sink.spans()}, what="its span")


def test_a_format_with_the_trace_does_not_depend_on_a_switch(serve: Serve) -> None:
    """With the SDK disabled the fields of a format are there, and say nothing."""
    server = serve(
        "logging_app:application", workers=1, config=the_page() + CHANGED,
        env={"OTEL_SDK_DISABLED": "true", "OTEL_SERVICE_NAME": "pictures"},
    )  # fmt: skip
    assert server.get("/shop").text == "none"
    accesses = eventually(
        lambda: [
            line for line in records(server, logger="gunicorn.access") if " - -" in line["message"]
        ]
    )
    assert accesses[0]["message"].endswith(" - -")
    assert not [each for each in records(server, logger="shop") if "trace_id" in each]
    assert "Worker is ready [0 pictures]" in server.log()
    assert "Logging error" not in server.log()


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_an_application_that_configures_logging_is_left_alone(
    sink: OtlpSink, serve: Serve, preload: bool
) -> None:
    """``basicConfig`` of the application works as without us while records are exported."""
    server = serve(
        "logging_app:application", workers=1, preload_app=preload,
        env=exporting(sink, OTEL_LOGS_EXPORTER="otlp", APP_CONFIGURES="1"),
    )  # fmt: skip
    trace_id = server.get("/shop").text
    text = (server.path / "basic.log").read_text()
    assert f"INFO {trace_id} asked by ann@example.org\n" in text
    assert "WARNING 0 loading\n" in text
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [log.proto.body.string_value for log in sink.logs()] == ["no picture for REDACTED"]


def test_records_of_all_workers_arrive(sink: OtlpSink, serve: Serve) -> None:
    """What every worker has logged by its end has arrived, each record once, in its trace."""
    delays = {"OTEL_BLRP_SCHEDULE_DELAY": "600000", "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    server = serve(
        "logging_app:application", workers=3,
        env=exporting(sink, OTEL_LOGS_EXPORTER="otlp", **delays),
    )  # fmt: skip
    traces = [server.get(f"/shop/{number}").text for number in range(30)]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    logs = sink.logs()
    assert Counter(log.proto.trace_id.hex() for log in logs) == Counter(traces)
    assert {log.proto.span_id.hex() for log in logs} <= {span.span_id for span in sink.spans()}
    assert {log.resource["service.name"] for log in logs} == {"pictures"}
    assert all(log.resource["service.instance.id"].startswith(f"{HOST}/") for log in logs)


def test_a_collector_that_hangs_delays_no_exit(sink: OtlpSink, serve: Serve) -> None:
    """A worker whose records do not get out ends all the same, and has counted them."""
    sink.behave(Fault.BLACKHOLE)
    server = serve(
        "logging_app:application", workers=1, graceful_timeout=30,
        env=exporting(
            sink, OTEL_LOGS_EXPORTER="otlp", OTEL_BLRP_MAX_QUEUE_SIZE="2",
            AVATAR_TELEMETRY_FLUSH_TIMEOUT="0.2",
        ),
    )  # fmt: skip
    for number in range(20):
        assert server.get(f"/shop/{number}").status == 200
    assert server.value("avatar_telemetry_log_records_total", result="dropped") >= 16
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "SIGKILL" not in server.log()
