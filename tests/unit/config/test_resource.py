"""The resource: attributes of a host and of its workers, and their labels."""

from __future__ import annotations

import os
import socket

import pytest
from opentelemetry.sdk.resources import Resource

from avatar_telemetry import Settings
from avatar_telemetry.config.resource import (
    of_child,
    resource_attributes,
    sdk_attributes,
    target_labels,
    worker_attributes,
)


def test_both_names_of_the_environment() -> None:
    """The attribute was renamed; both names are there."""
    attributes = resource_attributes(Settings.from_env({"OTEL_ENVIRONMENT": "staging"}))
    assert attributes["deployment.environment"] == "staging"
    assert attributes["deployment.environment.name"] == "staging"


@pytest.mark.parametrize("name", ["deployment.environment", "deployment.environment.name"])
def test_either_name_of_the_environment_gives_the_other(name: str) -> None:
    """An operator who uses one of the names has no other value under the other."""
    environ = {"OTEL_RESOURCE_ATTRIBUTES": f"{name}=staging"}
    attributes = resource_attributes(Settings.from_env(environ))
    assert attributes["deployment.environment"] == "staging"
    assert attributes["deployment.environment.name"] == "staging"


def test_operators_attributes_win() -> None:
    """``OTEL_RESOURCE_ATTRIBUTES`` replaces what other variables give, and adds to it."""
    environ = {
        "IVATAR_VERSION": "1", "HOSTNAME": "here",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=2,service.instance.id=i,team=images",
    }  # fmt: skip
    settings = Settings.from_env(environ)
    attributes = resource_attributes(settings)
    assert attributes["service.version"] == "2"
    assert attributes["team"] == "images"
    assert worker_attributes(settings, 3)["service.instance.id"] == "i/3"


def test_the_service_name_wins_over_the_attributes() -> None:
    """``OTEL_SERVICE_NAME`` takes precedence, as the specification has it."""
    environ = {"OTEL_SERVICE_NAME": "y", "OTEL_RESOURCE_ATTRIBUTES": "service.name=x"}
    assert resource_attributes(Settings.from_env(environ))["service.name"] == "y"


def test_two_hosts_are_two_instances() -> None:
    """Without ``HOSTNAME`` the instance has the host's name."""
    attributes = resource_attributes(Settings.from_env({}))
    assert attributes["service.instance.id"] == attributes["host.name"] == socket.gethostname()


def test_the_sdks_attributes() -> None:
    """They are those of the SDK's own resources."""
    of_sdk = Resource.create({}).attributes
    assert sdk_attributes() == {
        name: text for name, text in of_sdk.items() if name.startswith("telemetry.sdk.")
    }


def test_a_worker_differs_by_its_instance_alone() -> None:
    """A worker is its host and its slot, so that a recycled one is the same instance."""
    settings = Settings.from_env({"HOSTNAME": "here"})
    host, worker = resource_attributes(settings), worker_attributes(settings, 0)
    assert (host.pop("service.instance.id"), worker.pop("service.instance.id")) == (
        "here", "here/0",
    )  # fmt: skip
    assert host == worker


def test_child_has_its_own_pid() -> None:
    """Of a resource with a pid a forked child gets one with its own, all else unchanged."""
    parent = Resource({"process.pid": 1, "service.name": "s"})
    assert dict(of_child(parent).attributes) == {"process.pid": os.getpid(), "service.name": "s"}


def test_child_of_a_resource_without_pid() -> None:
    """A resource that names no process names none in a child."""
    resource = Resource({"service.name": "s"})
    assert of_child(resource) is resource


@pytest.mark.parametrize(
    ("attributes", "labels"),
    [
        pytest.param({"service.name": "s"}, {"service_name": "s"}, id="dot"),
        pytest.param({"1st": "x"}, {"key_1st": "x"}, id="digit"),
        pytest.param({"a.b": "2", "a_b": "3", "a-b": "1"}, {"a_b": "1;2;3"}, id="same name"),
        pytest.param({"é": "x"}, {"_": "x"}, id="beyond ASCII"),
        pytest.param({"b": "1", "a": "2"}, {"a": "2", "b": "1"}, id="order"),
        pytest.param({}, {}, id="none"),
    ],
)
def test_labels_of_the_target(attributes: dict[str, str], labels: dict[str, str]) -> None:
    """Attributes become labels as the compatibility specification has it, in one order."""
    assert target_labels(attributes) == tuple(labels.items())
