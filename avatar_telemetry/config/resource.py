"""The resource: the source of telemetry, as OpenTelemetry's semantic conventions describe it."""

from __future__ import annotations

import os
import re
import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

from avatar_telemetry.config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

ENVIRONMENT, OLD_ENVIRONMENT = "deployment.environment.name", "deployment.environment"
PROCESS_PID = "process.pid"
_INVALID = re.compile(r"[^a-zA-Z0-9_]")


def resource_attributes(settings: Settings) -> dict[str, str]:
    """The attributes of this host's server.

    ``OTEL_RESOURCE_ATTRIBUTES`` wins over all but ``OTEL_SERVICE_NAME`` (OpenTelemetry
    specification, Environment Variable Specification, "General SDK Configuration"). The two names
    of the environment are one attribute that was renamed, so one of them gives the other.
    """
    own = dict(settings.resource_attributes)
    environment = own.get(ENVIRONMENT) or own.get(OLD_ENVIRONMENT) or settings.environment
    return {
        "service.version": settings.service_version,
        "service.instance.id": settings.hostname,
        OLD_ENVIRONMENT: environment,
        ENVIRONMENT: environment,
        "host.name": socket.gethostname(),
        **own,
        "service.name": settings.service_name,
    }


def sdk_attributes() -> dict[str, str]:
    """The attributes that every resource of the SDK has (semantic conventions, "Telemetry SDK")."""
    return {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version("opentelemetry-sdk"),
    }


def worker_attributes(settings: Settings, slot: int) -> dict[str, str]:
    """The attributes of one worker's spans and log records; a recycled one has the same."""
    host = resource_attributes(settings)
    return {**host, "service.instance.id": f"{host['service.instance.id']}/{slot}"}


def of_child(resource: Resource) -> Resource:
    """In a forked child: the same with the child's ``process.pid``, where it has one."""
    if PROCESS_PID not in resource.attributes:
        return resource
    return resource.merge(type(resource)({PROCESS_PID: os.getpid()}))


def target_labels(attributes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Resource attributes as labels of ``target_info``.

    As the OpenTelemetry specification has it (Prometheus and OpenMetrics compatibility): every
    character that a label name cannot have becomes ``_``, and attributes that then have the same
    name are joined by ``;`` in the order of their keys.
    """
    labels: dict[str, list[str]] = {}
    for key in sorted(attributes):
        name = _INVALID.sub("_", key)
        labels.setdefault(f"key_{name}" if name[:1].isdigit() else name, []).append(attributes[key])
    return tuple((name, ";".join(values)) for name, values in sorted(labels.items()))
