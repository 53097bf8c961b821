"""What workers share with their master, and what each has to import for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.gunicorn_server import Serve
from tests.support.otlp_sink import OtlpSink
from tests.support.privileges import DROP, IMPORT_EARLY
from tests.support.rows import PRELOAD, by_default

EARLY = "opentelemetry.propagate"
TELL = f"""
import gc, sys

def pre_fork(server, worker):
    worker.inherits = {EARLY!r} in sys.modules

def post_worker_init(worker):
    frozen = gc.get_freeze_count() > 0
    worker.log.info("the propagators are inherited: %s, frozen: %s", worker.inherits, frozen)
"""
WAYS = [
    pytest.param("sync", False, False, id="sync"),
    pytest.param("gthread", False, False, id="gthread"),
    pytest.param("sync", True, True, id="sync-preload"),
    pytest.param("gthread", True, True, id="gthread-preload"),
    pytest.param("gevent", False, False, id="gevent"),
    pytest.param("gevent", True, False, id="gevent-preload"),
]


@pytest.mark.parametrize(
    ("worker_class", "preload", "inherited"), by_default("gevent-preload", WAYS)
)
def test_what_is_inherited(
    serve: Serve, sink: OtlpSink, worker_class: str, preload: bool, inherited: bool
) -> None:
    """With preload the master imports what its workers need, but where they patch it later. Without
    preload no collection in a worker copies what it shares."""
    env = {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
    server = serve(
        "plain:application", env=env, workers=1, worker_class=worker_class,
        preload_app=preload, config=TELL,
    )  # fmt: skip
    told = f"the propagators are inherited: {inherited}, frozen: {not preload}"
    assert told in server.log()
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
