"""Recorded spans, the policy, and a request around a function."""

from tests.support.probe_fixtures import (  # noqa: F401 - fixtures
    cached,
    generic,
    policy,
    spans,
    within,
)
