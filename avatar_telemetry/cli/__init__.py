"""The command ``avatar-telemetry``: one file for each of its commands."""

from avatar_telemetry.cli.command import main

__all__ = ["main"]
