"""The rules that all probes keep to."""

from __future__ import annotations

import pytest

from avatar_telemetry.probes.policy import Policy


@pytest.mark.parametrize(
    ("listed", "host", "gets"),
    [
        pytest.param((), "example.org", False, id="none listed"),
        pytest.param(("example.org",), "example.org", True, id="same"),
        pytest.param(("example.org",), "EXAMPLE.org.", True, id="case and root"),
        pytest.param(("example.org",), "api.example.org", True, id="subdomain"),
        pytest.param(("example.org",), "notexample.org", False, id="same end"),
        pytest.param(("example.org",), "org", False, id="parent"),
        pytest.param(("example.org",), "example.org.evil.net", False, id="same beginning"),
        pytest.param(("a.org", "b.org"), "b.org", True, id="second"),
        pytest.param(("*",), "", True, id="any"),
    ],
)
def test_hosts_that_get_our_context(listed: tuple[str, ...], host: str, gets: bool) -> None:
    """A host that is listed gets our trace context, and so do its subdomains, no other."""
    assert Policy(propagate_to=listed).propagates_to(host) is gets


def test_rules_are_set_anew_as_a_whole() -> None:
    """What is not named goes back to its default."""
    policy = Policy("strict", ("*",), "both")
    guard = policy.guard
    policy.set(semconv="stable")
    assert (policy.privacy, policy.propagate_to, policy.semconv) == ("balanced", (), "stable")
    assert policy.guard is not guard
