"""An environment without settings."""

from tests.support.running_fixtures import bare_environment  # noqa: F401 - fixture
