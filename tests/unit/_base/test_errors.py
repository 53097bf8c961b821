"""The message of a settings error, which an operator reads in a log."""

from __future__ import annotations

from avatar_telemetry._base.errors import AvatarTelemetryError, ProfileError, SettingsError


def test_each_fault_has_a_line() -> None:
    """The first line says what cannot be done; the faults stay apart for programs."""
    error = SettingsError("A=1: no", "B=2: no", what="the demo cannot be served")
    assert str(error) == ("avatar_telemetry: the demo cannot be served\n  A=1: no\n  B=2: no")
    assert error.faults == ("A=1: no", "B=2: no")
    assert str(SettingsError("A=1: no")).startswith(
        "avatar_telemetry: the configuration cannot be used\n"
    )


def test_all_errors_have_one_base() -> None:
    """A program can catch everything that the package raises on purpose."""
    assert issubclass(SettingsError, AvatarTelemetryError)
    assert issubclass(ProfileError, AvatarTelemetryError)
