"""Serve the demo with its telemetry under gunicorn, in the foreground; Ctrl-C ends it.

``python -m avatar_demo --workers 4 --bind 0.0.0.0:8080``: all options are gunicorn's.
"""

import errno
import os
import socket
import sys
from pathlib import Path

from gunicorn.config import Config

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGURATION = REPOSITORY / "gunicorn.conf.py"
DEFAULT = "127.0.0.1:8000"
"""The address in that file."""


def addresses(arguments: list[str]) -> list[tuple[str, int]]:
    """Return the TCP addresses that gunicorn binds with these options, none where another file
    configures it; ends the process after ``--help`` and for an unknown option."""
    config = Config(prog="python -m avatar_demo")
    parser = config.parser()
    given = parser.parse_args(config.get_cmd_args_from_env())
    parser.parse_args(arguments, given)
    if given.config or given.reuse_port:
        return []
    config.set("bind", given.bind or os.environ.get("GUNICORN_BIND") or DEFAULT)
    try:
        return [each for each in config.address if isinstance(each, tuple)]
    except RuntimeError:  # an invalid address, which gunicorn reports
        return []


def taken(address: tuple[str, int]) -> bool:
    """Return whether another program listens on an address; gunicorn would try for five seconds."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def main(arguments: list[str]) -> None:
    """Replace this process by gunicorn, or end it with status 2 where a port is in use."""
    for host, port in addresses(arguments):
        if taken((host, port)):
            message = f"{host}:{port} is in use; end its program, or choose another: --bind"
            print(f"avatar_demo: {message} {host}:{port + 1}", file=sys.stderr)
            sys.exit(2)
    command = [
        sys.executable, "-m", "gunicorn", "--chdir", str(REPOSITORY), "-c", str(CONFIGURATION),
        *arguments,
    ]  # fmt: skip
    os.execv(sys.executable, command)  # noqa: S606 - signals are for gunicorn itself


if __name__ == "__main__":
    main(sys.argv[1:])
