"""``routes``: what the layer makes of a URL."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.cli.routes import record
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.profiles.ivatar import PROFILE
from tests.support.running import invoke

DIGEST = "0bc83cb571cd1c50ba6f3e8a78ef1346"


def recorded(target: str, method: str = "GET", privacy: str = "balanced", **response: Any) -> Any:
    settings = Settings.from_env(
        {"AVATAR_TELEMETRY_PRIVACY": privacy, "OTEL_PYTHON_EXCLUDED_URLS": "stats"}
    )
    return record(settings, PROFILE, method, target, **response)


@pytest.mark.parametrize(
    ("method", "target", "response", "route", "spans", "series"),
    [
        pytest.param(
            "GET", f"/avatar/{DIGEST}?s=80", {"cache": "hit"}, "/avatar/{digest}",
            ["GET /avatar/{digest}", "avatar.cache_hit"],
            'ivatar_avatar_cache_hits_total{format="png",size="80"} 1', id="hit",
        ),
        pytest.param(
            "GET", f"/avatar/{DIGEST}", {"cache": "miss", "generator": "Identicon:render"},
            "/avatar/{digest}", ["GET /avatar/{digest}", "avatar.generate_png"],
            'ivatar_avatars_generated_total{format="png",size="80",source="generated"} 1',
            id="made",
        ),
        pytest.param(
            "POST", "/accounts/login/", {"status": 302, "location": "/accounts/profile/"},
            "/accounts/login/", ["POST /accounts/login/", "auth.login"],
            'ivatar_auth_attempts_total{operation="login",success="true"} 1', id="login",
        ),
        pytest.param(
            "POST", "/accounts/login/", {"status": 200}, "/accounts/login/",
            ["POST /accounts/login/", "auth.login"],
            'ivatar_auth_attempts_total{operation="login",success="false"} 1', id="login-failed",
        ),
        pytest.param(
            "GET", "/no/such", {"status": 404}, "other", ["GET"],
            'ivatar_requests_total{method="GET",path="other",status_code="404"} 1', id="other",
        ),
        pytest.param(
            "GET", "/stats/", {}, "/stats/", [],
            'ivatar_requests_total{method="GET",path="/stats/",status_code="200"} 1', id="excluded",
        ),
    ],
)  # fmt: skip
def test_a_request_is_classified(
    method: str, target: str, response: dict[str, Any], route: str, spans: list[str], series: str
) -> None:
    """Route, spans and counters are those that the server would have."""
    found = recorded(target, method, **response)
    assert found["route"] == route
    assert [span["name"] for span in found["spans"]] == spans
    assert series in found["series"]


@pytest.mark.parametrize(
    ("privacy", "address", "shown"),
    [("off", "192.0.2.77", True), ("balanced", "192.0.2.0", False), ("strict", None, False)],
)
def test_attributes_follow_the_privacy_mode(privacy: str, address: str | None, shown: bool) -> None:
    """The client data are those that the privacy mode allows."""
    found = recorded(f"/avatar/{DIGEST}?s=80", privacy=privacy)
    attributes = found["spans"][0]["attributes"]
    assert attributes.get("http.remote_addr") == address
    assert (DIGEST in str(found["spans"])) == shown


@given(st.text(), st.sampled_from(["GET", "POST", "BREW"]), st.integers(100, 599))
def test_any_url_is_classified(text: str, method: str, status: int) -> None:
    """Whatever stands in a URL, it is shown what becomes of it."""
    found = recorded(f"/{text}", method, status=status)
    assert found["series"]


def test_urls_are_shown() -> None:
    """The command shows each URL that it is given, whole ones too."""
    ran = invoke(
        "routes", f"https://example.org/avatar/{DIGEST}?s=80", "/stats/", "--cache", "miss"
    )
    assert ran.status == 0
    assert "route  /avatar/{digest}  kind=avatar" in ran.out
    assert "span   GET /stats/" in ran.out
    shown = invoke("routes", "/stats/", "--json", "--profile", "generic").json()
    assert shown[0]["route"] == "other"


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("ivatar", "the profile ivatar has only the generators monsterid.id:build_monster, "),
        ("generic", "the profile generic has no generators"),
    ],
)
def test_a_generator_must_be_the_profiles(profile: str, message: str) -> None:
    """A generator that the profile does not name is an error that lists those that it does."""
    ran = invoke("routes", "/", "--profile", profile, "--generator", "no:such")
    assert ran.status == 2
    assert f"--generator no:such: {message}" in ran.err
