"""Checks before a server starts, and acting as the workers' user."""

from __future__ import annotations

import ast
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from avatar_telemetry._base.errors import ProfileError, SettingsError
from avatar_telemetry._base.files import reserve
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.config.destinations import destinations, ring_signals
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.config.typos import typos
from avatar_telemetry.exporter.port import open_server
from avatar_telemetry.metrics.folder import living_masters
from avatar_telemetry.metrics.mapped import SLOT_SIZE
from avatar_telemetry.profiles.model import Profile

PACKAGE = __package__ or "avatar_telemetry"
UNUSABLE_INTERPRETER = (
    "user id %d, which the workers run as, cannot execute %s: an exporter that is killed is not"
    " replaced until a worker starts; install Python and its packages where that user can read them"
)
# Not 0, which a module itself may end the process with.
IS_GOOD = 42


def load_profile(reference: str) -> Profile:
    """Import a profile.

    Args:
        reference: ``module:NAME``.

    Raises:
        SettingsError: there is none, or it is not a :class:`Profile`.
    """
    module, _, name = reference.partition(":")
    try:
        profile = getattr(importlib.import_module(module), name)
        if not isinstance(profile, Profile):
            raise ProfileError(f"a {type(profile).__name__}, not a Profile")
    except (Exception, SystemExit) as error:
        raise SettingsError(
            _profile_fault(reference, f"{type(error).__name__}: {error}")
        ) from error
    return profile


def check_profile(reference: str) -> None:
    """See whether a profile can be used, without keeping the user's modules in this process.

    Raises:
        SettingsError: see :func:`load_profile`.
    """
    if reference.startswith(PACKAGE + "."):
        load_profile(reference)
        return
    silent = _profile_fault(reference, "its import ends the process")
    check_apart(lambda: load_profile(reference), silent)


def faults_of(*checks: Callable[[], object]) -> list[str]:
    """Make all checks.

    Args:
        checks: each raises :class:`SettingsError`.

    Returns:
        A line for each fault that they found.
    """
    faults: list[str] = []
    for check in checks:
        try:
            check()
        except SettingsError as error:
            faults += error.faults
    return list(dict.fromkeys(faults))


def load_app(reference: str) -> Any:
    """Import an application.

    Args:
        reference: ``module:NAME``, or ``module:factory()`` with literal arguments, as gunicorn
            takes it.
    """
    module, _, expression = reference.partition(":")
    parsed = ast.parse(expression, mode="eval").body
    if not isinstance(parsed, ast.Call):
        return resolve_name(reference)
    factory = resolve_name(f"{module}:{ast.unparse(parsed.func)}")
    named = {each.arg or "": ast.literal_eval(each.value) for each in parsed.keywords}
    return factory(*map(ast.literal_eval, parsed.args), **named)


def check_app(reference: str) -> None:
    """See whether an application can be imported.

    Args:
        reference: as :func:`load_app` takes it.

    Raises:
        SettingsError: it cannot, or is none.
    """
    try:
        if not callable(load_app(reference)):
            raise TypeError("no WSGI application: it cannot be called")
    except (Exception, SystemExit) as error:
        raise SettingsError(app_fault(reference, f"{type(error).__name__}: {error}")) from error


def app_fault(reference: str, fault: str) -> str:
    """Return the fault of an application that cannot be imported."""
    return f"AVATAR_TELEMETRY_APP={reference!r}: {fault}"


def warn_of_ignored(settings: Settings) -> None:
    """Log each text of a standard variable that is not allowed, and what is used instead."""
    for line in settings.warnings:
        LOGGER.warning("%s", line)


def log_started(settings: Settings) -> None:
    """Log where the metrics are and what is sent where, in one line."""
    places = [f"at {settings.metrics_path}"] if settings.metrics_path else []
    if settings.prometheus_endpoint is not None:
        host, port = settings.prometheus_endpoint
        places.append(f"on port {port} of {host or 'all addresses'}")
    LOGGER.info(
        "avatar_telemetry: metrics %s; export %s; profile %s; privacy %s",
        " and ".join(places) or "not served", destinations(settings), settings.profile,
        settings.privacy,
    )  # fmt: skip


def correct_environment(environ: MutableMapping[str, str], settings: Settings) -> None:
    """Replace ignored texts: OpenTelemetry's packages read the environment, too, and some
    raise where the specification asks for a warning."""
    for variable, text in settings.corrected.items():
        if text:
            environ[variable] = text
        else:
            environ.pop(variable, None)


def warn_of_typos(environ: Mapping[str, str]) -> None:
    """Log each variable that is perhaps misspelt."""
    for _, message, advice in typos(environ):
        LOGGER.warning("%s. %s", message, advice)


def check_apart(check: Callable[[], object], silent: str) -> None:
    """Make a check in a child, so that this process keeps no module of it.

    They may belong to the application, which a reload (HUP) is to import anew in its workers.

    Args:
        check: raises :class:`SettingsError`.
        silent: the fault where it ends the process without a message.

    Raises:
        SettingsError: of the check.
    """
    with tempfile.TemporaryFile() as report:
        child = os.fork()
        if child == 0:
            _report(check, report.fileno())
        _, status = os.waitpid(child, 0)
        report.seek(0)
        fault = report.read().decode(errors="replace")
    if os.waitstatus_to_exitcode(status) != IS_GOOD:
        raise SettingsError(fault or silent)


def _report(check: Callable[[], object], report: int) -> None:
    try:
        os.dup2(2, 1)  # a module may print at its import, amid the output of a command
        check()
        os._exit(IS_GOOD)
    except SettingsError as error:
        os.write(report, "\n  ".join(error.faults).encode())
    finally:
        os._exit(1)


def _profile_fault(reference: str, fault: str) -> str:
    return f"AVATAR_TELEMETRY_PROFILE={reference!r}: allowed is module:NAME of a Profile; {fault}"


def check_endpoint(settings: Settings) -> None:
    """See whether the separate port can be bound, where there is one.

    Raises:
        SettingsError: it cannot.
    """
    if settings.prometheus_endpoint is None:
        return
    host, port = settings.prometheus_endpoint
    try:
        open_server(settings.prometheus_endpoint).server_close()
    except OSError as error:
        raise SettingsError(
            f"{settings.port_variable}='{host}:{port}': {error.strerror or error}"
        ) from error


def check_folder(named: str, upgrades: int) -> None:
    """See whether a named runtime folder, if it exists, can be used; makes and changes nothing.

    Args:
        named: ``PROMETHEUS_MULTIPROC_DIR``, or an empty text.
        upgrades: pid of the master that this one replaces (USR2), else 0.

    Raises:
        SettingsError: it cannot.
    """
    path = Path(named)
    if not named or not path.exists():
        return
    if not path.is_dir():
        raise SettingsError(f"PROMETHEUS_MULTIPROC_DIR={named!r}: allowed is a folder")
    strangers = [str(pid) for pid in living_masters(path) if pid != upgrades]
    if strangers:
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={named!r}: allowed is a folder of its own; process"
            f" {', '.join(strangers)} uses this one"
        )
    check_writable(path)


def check_writable(folder: Path) -> None:
    """See whether the workers' user, who is acted as, can use the runtime folder.

    Raises:
        SettingsError: it cannot.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={str(folder)!r}: allowed is a folder that user id"
            f" {os.geteuid()} can read and write"
        )


def check_space(folder: Path, settings: Settings) -> None:
    """Check the space for the files and the rings of a slot, by taking it for a moment.

    Args:
        folder: the runtime folder.
        settings: of the rings.

    Raises:
        SettingsError: there is not.
    """
    size = SLOT_SIZE + settings.ring_size * len(ring_signals(settings))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), size)
    except OSError as error:
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={str(folder)!r}: no space for the {size >> 10} KiB of a"
            f" worker's files: {error.strerror or error}; make room there (a container's /dev/shm:"
            " --shm-size=256m) or name another folder",
            what="the runtime folder cannot be used",
        ) from error


def warn_of_interpreter(settings: Settings) -> None:
    """Log where the workers' user, who is acted as, cannot start the exporter again."""
    executable = sys.executable or ""
    if settings.exporter in ("thread", "none") or os.access(
        executable, os.X_OK, effective_ids=True
    ):
        return
    LOGGER.warning(UNUSABLE_INTERPRETER, os.geteuid(), executable)


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Act as the user that the workers become, so that what is made here is theirs."""
    was_uid, was_gid = os.geteuid(), os.getegid()
    if was_uid != 0 or uid == was_uid:
        yield
        return
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(was_uid)
        os.setegid(was_gid)
