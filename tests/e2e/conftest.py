"""Servers for the tests in this folder; each test gets as many as it asks for."""

import sys

from tests.support.otlp_fixtures import (  # noqa: F401 - fixtures
    grpc_sink,
    sink,
    sink_process,
)
from tests.support.server_fixtures import (  # noqa: F401 - fixtures
    certificate,
    memcached,
    outside,
    port,
    ports,
    prepare,
    serve,
)

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # what is looked at here is read from /proc
