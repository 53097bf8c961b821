"""The command ``avatar-telemetry``: one file for each of its commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

__all__ = ["main"]

REQUIRED = ("click", "packaging", "textual")
"""The packages of the extra ``cli``, which a server does not need."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process.

    Args:
        arguments: the arguments without the program's name; ``None`` for those of the process.

    Raises:
        SystemExit: always; 2 where the extra ``cli`` is not installed.
    """
    missing = ", ".join(name for name in REQUIRED if find_spec(name) is None)
    if missing:
        print(
            f"avatar-telemetry: {missing} not installed; pip install 'avatar-telemetry[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from avatar_telemetry.cli import command  # imports what may be missing

    command.main(arguments)
