"""The version of the installed package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _installed_version() -> str:
    try:
        return version("avatar-telemetry")
    except PackageNotFoundError:
        return "unknown"


# Read in the master: a worker that acts as another user may not reach the installation.
VERSION = _installed_version()
