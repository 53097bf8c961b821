"""The exceptions of the package: at the bottom of the import order, so that nothing loops."""


class AvatarTelemetryError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(AvatarTelemetryError):
    """The configuration cannot be used.

    The message lists every fault found, one a line, each with the variable, its value and what is
    allowed; it is written for the operator and needs no traceback.
    """


class ProfileError(AvatarTelemetryError):
    """A profile is not usable: what is wrong and where, in the message."""
