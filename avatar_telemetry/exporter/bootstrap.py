"""Start of the exporter's process: detach, close what was inherited, import the package.

Run by path as ``python -I -S bootstrap.py``, so it may import nothing but the standard library
until ``sys.path`` is that of the server. :func:`avatar_telemetry.exporter.launch.command` makes the
arguments.
"""

import json
import os
import sys


def detach() -> None:
    """Leave the process group of the server; the process that was spawned ends here.

    Its parent waits for that one, and init adopts this one: gunicorn's master never sees the exit
    of a child that is not a worker (25.1 takes its status for a worker's).
    """
    if os.fork():
        os._exit(0)
    os.setsid()


def close_inherited(keep: int) -> None:
    """Close every descriptor but the standard ones and one more; read nothing from the terminal.

    gunicorn's listening sockets are inheritable (USR2): kept open they would hold the port.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number in _open_descriptors():
        if number > 2 and number != keep:
            try:
                os.close(number)
            except OSError:  # that of the listing
                continue


def _open_descriptors() -> "list[int]":
    """Return all that may be open; there may be a billion numbers below the limit."""
    try:
        return list(map(int, os.listdir("/proc/self/fd")))
    except OSError:
        return list(range(min(os.sysconf("SC_OPEN_MAX"), 65_536)))


def import_path(server: "list[str]") -> "list[str]":
    """Return the ``sys.path`` of the server with the current folder last.

    There the application's own modules are, which may have the names of libraries.
    """
    here = os.getcwd()
    own = [each for each in server if each and os.path.abspath(each) != here]
    return [*own, here]


def main() -> None:
    """Become the exporter; never returns an exit status that gunicorn gives a meaning (3, 4)."""
    folder, lock, uid, gid, *options = sys.argv[3:]
    if "detach" in options:
        detach()
    os.set_inheritable(int(lock), False)
    close_inherited(int(lock))
    with open(os.path.join(folder, "exporter.json"), encoding="utf-8") as file:
        record = json.load(file)
    import site

    site.main()
    sys.path[:] = import_path(record["path"])
    load_package(record["package"])
    from avatar_telemetry.exporter.process import run

    run(folder, int(lock), int(uid), int(gid))


def load_package(folder: str) -> None:
    """Let imports find the very ``avatar_telemetry`` that the server runs, wherever ``sys.path``
    leads. Its ``__init__`` is not executed: it would import all that serves requests."""
    from types import ModuleType

    package = sys.modules["avatar_telemetry"] = ModuleType("avatar_telemetry")
    package.__path__ = [folder]


if __name__ == "__main__":
    main()
