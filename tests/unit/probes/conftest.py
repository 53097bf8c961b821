"""Recorded spans, the policy, and a request around a function."""

from tests.support.probe_fixtures import cached, policy, spans, within  # noqa: F401 - fixtures
