"""The demo, a browser without a network, and photos."""

from tests.support.demo_fixtures import (  # noqa: F401 - fixtures
    application,
    browser,
    connect,
    make_application,
    photo,
)
