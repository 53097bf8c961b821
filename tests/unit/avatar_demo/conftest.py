"""A browser without a network, photos, and a stand-in for Gravatar and Bluesky."""

from tests.support.demo_fixtures import (  # noqa: F401 - fixtures
    application,
    browser,
    certificate,
    cheap_passwords,
    connect,
    environ,
    make_application,
    member,
    new_browser,
    photo,
    stand_in,
    tls_stand_in,
)
