"""Start of the exporter's process: detach, close inherited descriptors, import the package.

It runs by path as ``python -I -S bootstrap.py`` and imports only the standard library until it has
the ``sys.path`` of the server. :func:`avatar_telemetry.exporter.launch.command` makes its
arguments.
"""

import json
import os
import sys


def detach() -> None:
    """Leave the process group of the server: the spawned process ends, a child of it continues.

    The parent reaps the spawned process, and init adopts the child: gunicorn's master never reaps a
    child that is not a worker (25.1 interprets its status as a worker's).
    """
    if os.fork():
        os._exit(0)
    os.setsid()


def close_inherited(keep: int) -> None:
    """Close all descriptors except the standard ones and one more; redirect standard input.

    gunicorn's listening sockets are inheritable (USR2): open copies would keep the port in use.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number in _open_descriptors():
        if number > 2 and number != keep:
            try:
                os.close(number)
            except OSError:  # the descriptor of the listing itself
                continue


def _open_descriptors() -> "list[int]":
    """Return all possibly open descriptors; the limit alone may be a billion."""
    try:
        return list(map(int, os.listdir("/proc/self/fd")))
    except OSError:
        return list(range(min(os.sysconf("SC_OPEN_MAX"), 65_536)))


def import_path(server: "list[str]") -> "list[str]":
    """Return the ``sys.path`` of the server with the current directory last.

    It has the application's modules, which may have the names of libraries.
    """
    here = os.getcwd()
    own = [each for each in server if each and os.path.abspath(each) != here]
    return [*own, here]


def main() -> None:
    """Become the exporter; its exit status is never one that gunicorn interprets (3, 4)."""
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
    """Make imports find the server's ``avatar_telemetry``, whatever ``sys.path`` has. Its
    ``__init__`` is not executed, because it imports all modules that serve requests."""
    from types import ModuleType

    package = sys.modules["avatar_telemetry"] = ModuleType("avatar_telemetry")
    package.__path__ = [folder]


if __name__ == "__main__":
    main()
