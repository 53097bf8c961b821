"""The resource: the source of telemetry, as OpenTelemetry's semantic conventions describe it."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from avatar_telemetry.config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

ENVIRONMENT, OLD_ENVIRONMENT = "deployment.environment.name", "deployment.environment"
PROCESS_PID = "process.pid"
_INVALID = re.compile(r"[^a-zA-Z0-9_]")


def resource_attributes(settings: Settings) -> dict[str, str]:
    """Return the attributes of the server on this host.

    ``OTEL_RESOURCE_ATTRIBUTES`` takes precedence over all but ``OTEL_SERVICE_NAME`` (OpenTelemetry
    specification, Environment Variable Specification, "General SDK Configuration"). The attribute
    of the environment was renamed, so a value for one of its names is used for both.
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
    """Return the attributes that the SDK adds (semantic conventions, "Telemetry SDK")."""
    from opentelemetry.sdk.version import __version__  # not needed without export

    return {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": __version__,
    }


def worker_attributes(settings: Settings, slot: int) -> dict[str, str]:
    """Return the attributes of a worker's spans and log records; its successor has the same."""
    host = resource_attributes(settings)
    return {**host, "service.instance.id": f"{host['service.instance.id']}/{slot}"}


def of_child(resource: Resource) -> Resource:
    """Return the resource of a forked child: with its own ``process.pid``, if it has that key."""
    if PROCESS_PID not in resource.attributes:
        return resource
    return resource.merge(type(resource)({PROCESS_PID: os.getpid()}))


def target_labels(attributes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return resource attributes as labels of ``target_info``.

    OpenTelemetry specification, Prometheus and OpenMetrics compatibility: each character that is
    invalid in a label name becomes ``_``, and the values of attributes that then have the same name
    are joined by ``;`` in the order of their keys.
    """
    labels: dict[str, list[str]] = {}
    for key in sorted(attributes):
        name = _INVALID.sub("_", key)
        labels.setdefault(f"key_{name}" if name[:1].isdigit() else name, []).append(attributes[key])
    return tuple((name, ";".join(values)) for name, values in sorted(labels.items()))
