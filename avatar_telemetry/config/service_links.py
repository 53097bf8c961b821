"""Variables that Kubernetes sets for a Service with the name of this package.

A Service ``avatar-telemetry`` gives each container of its namespace AVATAR_TELEMETRY_SERVICE_HOST,
AVATAR_TELEMETRY_PORT and more (Kubernetes documentation, Service, "Environment variables").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from avatar_telemetry.config.parsing import ip

_URL = r"(tcp|udp|sctp)://\S+"
_NUMBER = r"\d{1,5}"
FORMS: Mapping[str, str] = {
    r".+_SERVICE_PORT(_[A-Z0-9_]+)?": _NUMBER,
    r".+_PORT": _URL,
    r".+_PORT_\d+_(TCP|UDP|SCTP)": _URL,
    r".+_PORT_\d+_(TCP|UDP|SCTP)_PROTO": "tcp|udp|sctp",
    r".+_PORT_\d+_(TCP|UDP|SCTP)_PORT": _NUMBER,
}
"""Pattern of a name -> pattern of its value, except for addresses."""
ADDRESS = r".+(_SERVICE_HOST|_PORT_\d+_(TCP|UDP|SCTP)_ADDR)"
"""Pattern of the names whose value is an address."""


def is_service_link(variable: str, text: str) -> bool:
    """Return whether a name and its value are those of a Service's variable.

    The value is compared, too, so that a setting of this package is not ignored.
    """
    if re.fullmatch(ADDRESS, variable):
        return ip(text) is not None
    return any(
        re.fullmatch(name, variable) and re.fullmatch(value, text) for name, value in FORMS.items()
    )
