"""Variables of Kubernetes Services that have the prefix of this package."""

from __future__ import annotations

import pytest

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config.service_links import is_service_link
from avatar_telemetry.config.settings import OWN_PREFIX, Settings, variables

LINKS = {
    "SERVICE_HOST": "10.96.3.7",
    "SERVICE_PORT": "9464",
    "SERVICE_PORT_HTTP_METRICS": "9464",
    "PORT": "tcp://10.96.3.7:9464",
    "PORT_9464_TCP": "tcp://10.96.3.7:9464",
    "PORT_9464_TCP_PROTO": "tcp",
    "PORT_9464_TCP_PORT": "9464",
    "PORT_9464_TCP_ADDR": "10.96.3.7",
    "PORT_53_UDP": "udp://[fd00::1]:53",
    "PORT_53_UDP_ADDR": "fd00::1",
}


@pytest.mark.parametrize("service", ["", "METRICS_", "PRIVACY_", "APP_2_"])
def test_links_are_ignored(service: str) -> None:
    """A Service of the package's name, or with more behind it, does not stop the start."""
    links = {OWN_PREFIX + service + name: text for name, text in LINKS.items()}
    assert Settings.from_env(links) == Settings.from_env({})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("PORT", "9464", id="port"),
        pytest.param("SERVICE_HOST", "localhost", id="host"),
        pytest.param("SERVICE_PORT", "http", id="service port"),
        pytest.param("METRICS_PORT", "9464", id="metrics port"),
        pytest.param("PORT_9464_TCP", "yes", id="form of the name alone"),
        pytest.param("PORT_9464_TCP_PROTO", "http", id="protocol"),
        pytest.param("SERVICE_NAME", "images", id="service name"),
    ],
)
def test_an_own_setting_is_not_taken_for_a_link(name: str, text: str) -> None:
    """What someone has meant for this package is refused as unknown, as ever."""
    with pytest.raises(SettingsError, match=f"unknown variable {OWN_PREFIX}{name}"):
        Settings.from_env({OWN_PREFIX + name: text})


@pytest.mark.parametrize("text", LINKS.values())
def test_no_setting_has_the_form_of_a_link(text: str) -> None:
    """No variable that is read could be hidden, whatever its value."""
    own = [each.variable for each in variables() if each.variable.startswith(OWN_PREFIX)]
    assert not any(is_service_link(each, text) for each in own)
