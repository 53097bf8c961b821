"""The real servers that tests start: found on the machine, run in folders of their own.

A test whose server is missing is skipped with the reason; where ``TEST_REQUIRE_SERVERS`` is set, as
in continuous integration, it fails.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.requirements import unavailable
from tests.support.waiting import DEADLINE, eventually


def find(program: str) -> str:
    """The path of a server's program; skips or fails the test where there is none."""
    debian = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"))
    path = shutil.which(program) or (debian[-1] if debian else None)
    return path or unavailable(f"{program} is not installed")


@contextmanager
def own_port() -> Iterator[int]:
    """A port that no other process is given until the block ends; see :func:`hold_port`."""
    with hold_port() as held:
        yield held.getsockname()[1]


def hold_port(port: int = 0) -> socket.socket:
    """A port that stays ours until this socket is closed, whether somebody listens on it or not.

    Whoever sets ``SO_REUSEADDR``, as servers do, may listen on it meanwhile; while nobody does, a
    connection is refused, and the kernel gives the port to nobody else.

    Args:
        port: which, instead of a free one.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


@dataclass(frozen=True)
class Database:
    """A database server that runs.

    Args:
        url: of a database that exists.
        pid: of the server's first process.
    """

    url: str
    pid: int


@contextmanager
def postgresql() -> Iterator[Database]:
    """A PostgreSQL of its own. It refuses to run as root, so root becomes nobody."""
    initdb, server = find("initdb"), find("postgres")
    with _own_folder("postgresql") as folder, own_port() as port:
        prefix = _as_unprivileged(folder)
        data = folder / "data"
        subprocess.run(
            [*prefix, initdb, "-D", str(data), "-U", "demo", "--auth=trust", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        command = [*prefix, server, "-D", str(data), "-p", str(port), "-h", "127.0.0.1",
                   "-k", str(folder), "-F"]  # fmt: skip
        # It accepts connections, and refuses them, while it is starting up.
        asked = [find("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "demo"]
        with running(command, folder / "log", port) as pid:
            eventually(lambda: subprocess.run(asked, check=False).returncode == 0)
            yield Database(f"postgresql://demo@127.0.0.1:{port}/postgres", pid)


@contextmanager
def mariadb() -> Iterator[Database]:
    """A MariaDB of its own."""
    install, server = find("mariadb-install-db"), find("mariadbd")
    with _own_folder("mariadb") as folder, own_port() as port:
        user = pwd.getpwuid(os.geteuid()).pw_name
        # In the common folder, one that starts deletes the temporary tables of one that runs.
        options = ["--no-defaults", f"--datadir={folder}/data", f"--user={user}",
                   f"--tmpdir={folder}"]  # fmt: skip
        subprocess.run(
            [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        bootstrap = folder / "init.sql"
        statements = (
            "CREATE DATABASE demo CHARACTER SET utf8mb4;",
            "CREATE USER demo@'127.0.0.1' IDENTIFIED BY 'demo';",
            "GRANT ALL ON *.* TO demo@'127.0.0.1';",
        )
        bootstrap.write_text("\n".join(statements))
        command = [server, *options, "--bind-address=127.0.0.1", f"--port={port}",
                   "--skip-name-resolve", f"--socket={folder}/socket", f"--init-file={bootstrap}",
                   f"--pid-file={folder}/pid"]  # fmt: skip
        with running(command, folder / "log", port) as pid:
            eventually(lambda: _greets(port))
            yield Database(f"mariadb://demo:demo@127.0.0.1:{port}/demo", pid)


@contextmanager
def memcached() -> Iterator[str]:
    """A memcached of its own; gives its ``host:port``."""
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [find("memcached"), "-l", "127.0.0.1", "-m", "256", *user]
    with own_port() as port, running([*command, "-p", str(port)], Path(os.devnull), port):
        yield f"127.0.0.1:{port}"


@contextmanager
def redis() -> Iterator[str]:
    """A Redis of its own, which keeps nothing; gives its URL."""
    command = [find("redis-server"), "--bind", "127.0.0.1", "--save", ""]
    with own_port() as port, running([*command, "--port", str(port)], Path(os.devnull), port):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[int]:
    """A server's process, from when its port accepts; it is ended with the block. Gives its pid.

    Args:
        command: that starts it in the foreground.
        log: gets its output.
        port: on which it accepts when it is up.
    """
    with (
        open(log, "wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, cwd="/") as process,
    ):
        try:
            eventually(lambda: process.poll() is not None or accepts(port))
            assert process.poll() is None, f"{command[0]} ended: {log.read_text()}"
            yield process.pid
        finally:
            process.terminate()
            process.wait(DEADLINE)


@contextmanager
def _own_folder(name: str) -> Iterator[Path]:
    """A folder for a server that may run as another user.

    Each start of another pytest closes all that is below pytest's own folder to other users.
    """
    with TemporaryDirectory(prefix=f"{name}-") as folder:
        yield Path(folder)


def _as_unprivileged(folder: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam("nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


def _greets(port: int) -> bool:
    """Return whether a starting server serves: its port accepts before that."""
    with socket.socket() as probe, suppress(OSError):
        probe.settimeout(1)
        probe.connect(("127.0.0.1", port))
        return bool(probe.recv(1))
    return False


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
