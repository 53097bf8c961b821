"""``profile``: the stacks of all workers of a server, sampled by py-spy, as one flame graph."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from avatar_telemetry._base.errors import AvatarTelemetryError
from avatar_telemetry.cli.completion import runtime_dirs
from avatar_telemetry.cli.environment import find_directory
from avatar_telemetry.cli.flamegraph import Stack, collapsed, draw, parse_collapsed, speedscope
from avatar_telemetry.cli.ptrace import may_read, missing_right, read_rights
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.slots import holders

PROGRAM = "py-spy"
FILES = {"flamegraph": "profile.svg", "speedscope": "profile.speedscope.json",
         "collapsed": "profile.txt"}  # fmt: skip
"""The formats, and the file of each unless ``--out`` names one."""
STANDARD_OUTPUT = "-"
MAX_END_WAIT = 30.0
"""Seconds after the sampling in which py-spy must have written its file."""
DENIED = ("permission denied", "operation not permitted", "eperm")
"""Texts of py-spy where a right is missing."""


class ProfileError(AvatarTelemetryError):
    """The workers cannot be sampled; the message has the cause and the fix."""


@click.command("profile")
@click.argument("directory", required=False, type=click.Path(path_type=Path),
                shell_complete=runtime_dirs)  # fmt: skip
@click.option("--seconds", "-s", default=30, type=click.IntRange(1, 3600), show_default=True,
              help="Duration of the sampling.")  # fmt: skip
@click.option("--out", "-o", type=click.Path(dir_okay=False),
              help="File to write; - for the standard output.  [default: profile.svg,"
              " profile.speedscope.json or profile.txt, by the format]")  # fmt: skip
@click.option("--format", "form", default="flamegraph", type=click.Choice(list(FILES)),
              show_default=True, help="SVG, a file for speedscope.app, or a line for each stack.",
)  # fmt: skip
@click.option("--rate", "-r", default=100, type=click.IntRange(1, 1000), show_default=True,
              help="Samples a second of each worker.")  # fmt: skip
@click.option("--idle", is_flag=True, help="Sample threads that wait, too.")
def profile(
    directory: Path | None, seconds: int, out: str | None, form: str, rate: int, idle: bool
) -> None:
    """Sample all workers of a runtime DIRECTORY together, and write one flame graph.

    The default is PROMETHEUS_MULTIPROC_DIR, or the private directory of the only running server
    of this user; with sudo, which removes the variable, name the DIRECTORY.
    Needs py-spy (pip install 'avatar-telemetry[profile]') and the right to read the memory of the
    workers: root, or CAP_SYS_PTRACE. The workers are not restarted, nothing in them changes; each
    sample stops one for a moment. Workers that start meanwhile are not sampled.

    Ctrl-C ends it earlier, and writes what was sampled.

    \b
    Examples:
      avatar-telemetry profile --seconds 30 --out profile.svg
      avatar-telemetry profile --format speedscope --idle
      avatar-telemetry profile --format collapsed --out - | head
    """
    program = _find_program()
    target = out or FILES[form]
    if target != STANDARD_OUTPUT:
        _check_target(Path(target))
    path = directory or find_directory(Settings.from_env(os.environ))
    pids = _workers(path)
    _check_rights(pids)
    workers = f"{len(pids)} worker{'s' * (len(pids) > 1)} of {path}"
    click.echo(f"Sampling {workers} for {seconds} s.", err=True)
    options = ["--rate", str(rate), *(["--idle"] if idle else [])]
    start = time.monotonic()
    stacks = sample(program, pids, seconds, options)
    taken = min(time.monotonic() - start, seconds)  # less after Ctrl-C
    total = sum(stacks.values())
    title = f"{total} samples of {workers}, {rate} a second of each, {taken:.0f} s"
    if form == "flamegraph":
        text = draw(stacks, title)
    else:
        text = speedscope(stacks, title, rate) if form == "speedscope" else collapsed(stacks)
    if target == STANDARD_OUTPUT:
        click.echo(text, nl=False)
    else:
        Path(target).write_text(text, encoding="utf-8")
    where = "" if target == STANDARD_OUTPUT else f" written to {target}"
    hint = "" if total or idle else "; no thread computed, --idle shows those that wait"
    click.echo(f"{total} samples{where}{hint}.", err=True)


def _check_target(path: Path) -> None:
    """Refuse a file that cannot be written, before the sampling; leave it as it is."""
    if path.exists() and not path.is_file():
        return  # opening and closing a named pipe would end its reader
    is_new = not path.exists()
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise click.UsageError(f"--out {path} cannot be written: {error.strerror}") from None
    if is_new:
        path.resolve().unlink()


def sample(
    program: str, pids: Sequence[int], seconds: int, options: Sequence[str] = ()
) -> Counter[Stack]:
    """Sample processes concurrently, and return all stacks; a process may end meanwhile.

    Args:
        program: the path of py-spy.
        pids: the processes.
        seconds: the duration.
        options: more options of ``py-spy record``.

    Raises:
        ProfileError: no process could be sampled.
    """
    stacks: Counter[Stack] = Counter()
    faults: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        started: dict[int, subprocess.Popen[bytes]] = {}
        try:
            for pid in pids:
                started[pid] = _start(program, pid, Path(folder), seconds, options)
            _wait(list(started.values()), seconds)
        finally:
            for each in started.values():
                each.kill()  # nothing where it has ended
                each.wait()
        for pid in started:
            errors = Path(folder, f"{pid}.err").read_text(encoding="utf-8", errors="replace")
            try:
                stacks += parse_collapsed(Path(folder, str(pid)).read_text(encoding="utf-8"))
            except FileNotFoundError:
                faults[pid] = errors
    if len(faults) == len(pids):
        raise ProfileError(_explain(*next(iter(faults.items()))))
    return stacks


def _start(
    program: str, pid: int, folder: Path, seconds: int, options: Sequence[str]
) -> subprocess.Popen[bytes]:
    command = [
        program, "record", "--pid", str(pid), "--duration", str(seconds), "--format", "raw",
        "--function", "--output", str(folder / str(pid)), *options,
    ]  # fmt: skip
    with open(folder / f"{pid}.err", "wb") as errors:
        return subprocess.Popen(  # noqa: S603 - the program of the extra
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )


def _wait(started: Sequence[subprocess.Popen[bytes]], seconds: int) -> None:
    """Wait until all have written their files; after Ctrl-C they do that at once."""
    with suppress(subprocess.TimeoutExpired):
        try:
            for each in started:
                each.wait(seconds + MAX_END_WAIT)
        except KeyboardInterrupt:
            for each in started:
                each.send_signal(signal.SIGINT)
            for each in started:
                each.wait(MAX_END_WAIT)


def _find_program() -> str:
    """Return the path of py-spy, which the extra installs beside this interpreter."""
    folders = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    found = shutil.which(PROGRAM, path=os.pathsep.join(folders))
    if not found:
        raise ProfileError("py-spy is not installed; pip install 'avatar-telemetry[profile]'")
    return found


def _workers(path: Path) -> list[int]:
    try:
        pids = [each.pid for each in holders(path) if each.worker]
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not pids:
        raise click.UsageError(f"no worker runs in {path}; name the DIRECTORY of a running server")
    return pids


def _check_rights(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            if not may_read(pid):
                raise ProfileError(_denied(pid))


def _denied(pid: int) -> str:
    return f"no right to read process {pid}: {missing_right(read_rights(pid))}"


def _explain(pid: int, errors: str) -> str:
    """Return the cause of a failure of py-spy, from its standard error."""
    if any(each in errors.lower() for each in DENIED):
        with suppress(ProcessLookupError):  # it has ended since: py-spy's own line is the cause
            return _denied(pid)
    # A line "Error: ..." is followed by its causes and a backtrace.
    lines = [line.removeprefix("Error: ") for line in errors.splitlines() if "Error: " in line]
    return f"py-spy cannot sample process {pid}: {lines[0] if lines else 'it gave no reason'}"
