"""What workers share with their master, and what each has to import for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.gunicorn_server import Serve
from tests.support.otlp_sink import OtlpSink
from tests.support.privileges import DROP, IMPORT_EARLY
from tests.support.rows import PRELOAD, by_default

REPORT = """
import gc, sys

def pre_fork(server, worker):
    worker.inherited = set(sys.modules)

def post_worker_init(worker):
    own = sorted(set(sys.modules) - worker.inherited)
    imported = [name for name in own if name.startswith(("avatar_telemetry", "opentelemetry"))]
    frozen = gc.get_freeze_count() > 0
    worker.log.info("imported by the worker: %s, frozen: %s", imported, frozen)
"""
WAYS = [
    pytest.param("sync", False, id="sync"),
    pytest.param("gthread", False, id="gthread"),
    pytest.param("sync", True, id="sync-preload"),
    pytest.param("gthread", True, id="gthread-preload"),
    pytest.param("gevent", False, id="gevent"),
    pytest.param("gevent", True, id="gevent-preload"),
]


@pytest.mark.parametrize(("worker_class", "preload"), by_default("gevent-preload", WAYS))
def test_what_is_inherited(serve: Serve, sink: OtlpSink, worker_class: str, preload: bool) -> None:
    """A worker shares the modules of the telemetry with its master. Without preload no garbage
    collection in a worker copies them."""
    env = {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
    server = serve(
        "plain:application", env=env, workers=1, worker_class=worker_class,
        preload_app=preload, config=REPORT,
    )  # fmt: skip
    assert f"imported by the worker: [], frozen: {not preload}" in server.log()
    assert server.get("/").text == "hello"
    assert server.value("avatar_telemetry_internal_errors_total") == 0


def test_another_worker_class_by_a_reload(serve: Serve, tmp_path: Path) -> None:
    """Workers that patch ``ssl`` after a master of others has imported what knows it: neither the
    application's calls over TLS nor the exports fail."""
    authority = Authority(tmp_path / "certificates")
    chosen = tmp_path / "class"
    chosen.write_text("sync")
    with OtlpSink(certificate=authority.issue("sink")) as sink:
        env = {
            "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.certificate.path),
            "OTEL_BSP_SCHEDULE_DELAY": "100", "CALLED": f"{sink.url}/",
        }  # fmt: skip
        server = serve(
            "calling:application", env=env, workers=1, preload_app=True,
            config=f"worker_class = open({str(chosen)!r}).read()",
        )  # fmt: skip
        assert server.get("/").status == 200
        chosen.write_text("gevent")
        server.reload()
        assert server.get("/").status == 200
        sink.await_spans(4)  # a server and a client span of each request
        server.close()
        assert "recursion" not in server.log()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_export_is_turned_on_by_a_reload(serve: Serve, sink: OtlpSink, preload: bool) -> None:
    """What sends is imported while the worker can still read it."""
    server = serve(config=IMPORT_EARLY, preload_app=preload, **DROP)
    server.reload(
        OTEL_EXPORT_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
    )  # fmt: skip
    server.get("/avatar/abc")
    sink.await_spans(2)
    assert server.value("avatar_telemetry_internal_errors_total") == 0
