"""Sinks for the tests of the command, and an environment without settings."""

from tests.support.otlp_fixtures import authority, grpc_sink, sink  # noqa: F401 - fixtures
from tests.support.running_fixtures import bare_environment  # noqa: F401 - fixture
