"""The exceptions of the package: at the bottom of the import order, so that nothing loops."""


class AvatarTelemetryError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(AvatarTelemetryError):
    """The configuration cannot be used.

    The message lists every fault found, one a line, each with the variable, its value and what is
    allowed; it is written for the operator and needs no traceback.

    Args:
        faults: one or more.
        what: cannot be done.
    """

    def __init__(self, *faults: str, what: str = "the configuration cannot be used") -> None:
        super().__init__("\n  ".join([f"avatar_telemetry: {what}", *faults]))
        self.faults = faults


class ProfileError(AvatarTelemetryError):
    """A profile is not usable: what is wrong and where, in the message."""
