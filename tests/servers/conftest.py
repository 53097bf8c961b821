"""Real collectors and sinks for the tests in this folder."""

from tests.support.otlp_fixtures import (  # noqa: F401 - fixtures
    authority,
    grpc_sink,
    running_collector,
    sink,
    sink_process,
    start_collector,
    trace_store,
)
from tests.support.server_fixtures import (  # noqa: F401 - fixtures
    memcached,
    outside,
    port,
    ports,
    prepare,
    serve,
)
