"""What workers share with their master, and what each has to import for itself."""

from __future__ import annotations

import pytest
from gunicorn_server import Serve

from tests.otlp_sink import OtlpSink

TRANSPORT = "avatar_telemetry.export.outgoing"
TELL = f"""
import gc, sys

def pre_fork(server, worker):
    worker.inherits = {TRANSPORT!r} in sys.modules

def post_worker_init(worker):
    frozen = gc.get_freeze_count() > 0
    worker.log.info("the transport is inherited: %s, frozen: %s", worker.inherits, frozen)
"""
WAYS = [
    pytest.param("sync", False, False, id="sync"),
    pytest.param("sync", True, True, id="sync-preload"),
    pytest.param("gthread", True, True, id="gthread-preload"),
    pytest.param("gevent", False, False, id="gevent"),
    pytest.param("gevent", True, False, id="gevent-preload"),
]


@pytest.mark.parametrize(("worker_class", "preload", "inherited"), WAYS)
def test_what_is_inherited(serve: Serve, worker_class: str, preload: bool, inherited: bool) -> None:
    """With preload the master imports what its workers need, but where they patch it later; and no
    collection in a worker copies what it shares."""
    with OtlpSink() as sink:
        env = {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
        server = serve(
            "plain:application", env=env, workers=1, worker_class=worker_class,
            preload_app=preload, config=TELL,
        )  # fmt: skip
        assert f"the transport is inherited: {inherited}, frozen: True" in server.log()
        assert server.get("/").text == "hello"
        assert server.value("avatar_telemetry_internal_errors_total") == 0
