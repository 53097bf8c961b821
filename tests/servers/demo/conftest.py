"""The demo, a browser without a network, and photos."""

from tests.support.demo_fixtures import (  # noqa: F401 - fixtures
    application,
    browser,
    cheap_passwords,
    connect,
    make_application,
    photo,
)
