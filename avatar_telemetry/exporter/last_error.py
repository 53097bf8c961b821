"""The last failure of a signal's export, in a file of the runtime directory.

The log has it, too, but on another day: the file is for the doctor, which does not read logs.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from avatar_telemetry._base.files import give_to_owner, open_own
from avatar_telemetry.config.otlp import Signal

MAX_LENGTH = 1 << 16


@dataclass(frozen=True)
class LastError:
    """A failure of an export.

    Args:
        message: the line of the log, without secrets.
        at: the time, in seconds since the epoch.
        resolved_at: the time of the next success, in seconds since the epoch; 0.0 before it.
    """

    message: str
    at: float
    resolved_at: float = 0.0


class ErrorFile:
    """The file of a signal, for use in one thread. It is missing as long as nothing has failed.

    Args:
        folder: the runtime directory.
        signal: the signal.
    """

    def __init__(self, folder: Path, signal: Signal) -> None:
        self._folder = folder
        self._signal = signal
        self._last = read_last_error(folder, signal)

    @property
    def is_open(self) -> bool:
        """True where the last export failed, of this exporter or of an earlier one."""
        return self._last is not None and not self._last.resolved_at

    def failed(self, message: str) -> None:
        """Replace the last failure."""
        self._write(LastError(message, time.time()))

    def resolved(self) -> None:
        """Record the first success after a failure."""
        if self._last is not None and self.is_open:
            self._write(replace(self._last, resolved_at=time.time()))

    def _write(self, last: LastError) -> None:
        self._last = last
        path = error_path(self._folder, self._signal)
        draft = path.with_suffix(".new")
        with suppress(OSError):  # the directory was removed, or is full: the log has the failure
            draft.unlink(missing_ok=True)
            with open(open_own(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                give_to_owner(file.fileno(), self._folder)
                file.write(json.dumps(asdict(last)).encode())
            draft.replace(path)


def error_path(folder: Path, signal: Signal) -> Path:
    """Return the path of a signal's file in a runtime directory."""
    return folder / f"{signal}.error"


def read_last_error(folder: Path, signal: Signal) -> LastError | None:
    """Return the last failure of a signal, ``None`` where there was none or it is unreadable."""
    try:
        with open(open_own(error_path(folder, signal), os.O_RDONLY), "rb") as file:
            values = json.loads(file.read(MAX_LENGTH))
        return LastError(str(values["message"]), float(values["at"]), float(values["resolved_at"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
