"""The exceptions of the package, at the bottom of the import order to avoid import cycles."""


class AvatarTelemetryError(Exception):
    """Base class of the exceptions of this package."""


class SettingsError(AvatarTelemetryError):
    """The configuration cannot be used.

    The message has one line for each fault: the variable, its value and the permitted values. An
    operator needs no traceback with it.

    Args:
        faults: the lines, at least one.
        what: the first line of the message.
    """

    def __init__(self, *faults: str, what: str = "the configuration cannot be used") -> None:
        super().__init__("\n  ".join([f"avatar_telemetry: {what}", *faults]))
        self.faults = faults


class ProfileError(AvatarTelemetryError):
    """A profile cannot be used. The message lists its faults."""
