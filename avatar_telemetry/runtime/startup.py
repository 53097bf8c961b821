"""Checks before a server starts, and what is logged about them."""

from __future__ import annotations

import ast
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from avatar_telemetry._base.errors import ProfileError, SettingsError
from avatar_telemetry._base.files import reserve
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.config.destinations import destinations, ring_signals
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.config.typos import typos
from avatar_telemetry.exporter.port import bind_fault, open_server
from avatar_telemetry.metrics.folder import living_masters
from avatar_telemetry.metrics.mapped import SLOT_SIZE
from avatar_telemetry.profiles.model import Profile

PACKAGE = "avatar_telemetry"
UNUSABLE_INTERPRETER = (
    "the workers' user id %d cannot execute %s: an exporter that is killed is not replaced until a"
    " worker starts; install Python and its packages where that user can read them"
)
# Not 0, because a module may end the process with that status.
EXIT_PASSED = 42


def load_profile(reference: str) -> Profile:
    """Import a profile.

    Args:
        reference: ``module:NAME``.

    Raises:
        SettingsError: the profile cannot be imported, or is not a :class:`Profile`.
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
    """Check a profile, without keeping the user's modules in this process.

    Raises:
        SettingsError: see :func:`load_profile`.
    """
    if reference.startswith(PACKAGE + "."):
        load_profile(reference)
        return
    silent = _profile_fault(reference, "its import ends the process")
    check_in_child(lambda: load_profile(reference), silent)


def faults_of(*checks: Callable[[], object]) -> list[str]:
    """Run checks.

    Args:
        checks: the functions, which raise :class:`SettingsError`.

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
        reference: ``module:NAME``, or ``module:factory()`` with literal arguments (as in gunicorn).
    """
    module, _, expression = reference.partition(":")
    parsed = ast.parse(expression, mode="eval").body
    if not isinstance(parsed, ast.Call):
        return resolve_name(reference)
    factory = resolve_name(f"{module}:{ast.unparse(parsed.func)}")
    named = {each.arg or "": ast.literal_eval(each.value) for each in parsed.keywords}
    return factory(*map(ast.literal_eval, parsed.args), **named)


def check_app(reference: str) -> None:
    """Check whether an application can be imported.

    Args:
        reference: see :func:`load_app`.

    Raises:
        SettingsError: the application cannot be imported, or is not a WSGI application.
    """
    try:
        if not callable(load_app(reference)):
            raise TypeError("not a WSGI application: it is not callable")
    except (Exception, SystemExit) as error:
        raise SettingsError(app_fault(reference, f"{type(error).__name__}: {error}")) from error


def app_fault(reference: str, fault: str) -> str:
    """Return the line about an application that cannot be imported."""
    return f"AVATAR_TELEMETRY_APP={reference!r}: {fault}"


def warn_of_ignored(settings: Settings) -> None:
    """Log each invalid text of a standard variable, and the text used instead."""
    for line in settings.warnings:
        LOGGER.warning("%s", line)


def log_started(settings: Settings) -> None:
    """Log the addresses of the metrics, the export destinations, profile and privacy mode."""
    places = [f"at {settings.metrics_path}"] if settings.metrics_path else []
    if settings.prometheus_endpoint is not None:
        host, port = settings.prometheus_endpoint
        places.append(f"on port {port} of {host or 'all addresses'}")
    LOGGER.info(
        "avatar_telemetry: metrics %s; export %s; profile %s; privacy %s",
        " and ".join(places) or "not served", destinations(settings), settings.profile,
        settings.privacy,
    )  # fmt: skip


def warn_of(settings: Settings, environ: MutableMapping[str, str]) -> None:
    """Log each variable that is ignored or probably misspelt, and correct the environment."""
    warn_of_ignored(settings)
    warn_of_typos(environ)
    correct_environment(environ, settings)


def correct_environment(environ: MutableMapping[str, str], settings: Settings) -> None:
    """Replace ignored texts in the environment: OpenTelemetry's packages read it, too, and some
    raise although the specification requires a warning."""
    for variable, text in settings.corrected.items():
        if text:
            environ[variable] = text
        else:
            environ.pop(variable, None)


def warn_of_typos(environ: Mapping[str, str]) -> None:
    """Log each probable typo and each unused variable."""
    for _, message, advice in typos(environ):
        LOGGER.warning("%s. %s", message, advice)


def check_in_child(check: Callable[[], object], silent: str) -> None:
    """Run a check in a child process, so that this process keeps no module that it imports.

    The modules may belong to the application, which workers import again after a reload (HUP).

    Args:
        check: the function, which raises :class:`SettingsError`.
        silent: the fault if the check ends the process without a message.

    Raises:
        SettingsError: the check failed.
    """
    with tempfile.TemporaryFile() as report:
        child = os.fork()
        if child == 0:
            _report(check, report.fileno())
        _, status = os.waitpid(child, 0)
        report.seek(0)
        fault = report.read().decode(errors="replace")
    if os.waitstatus_to_exitcode(status) != EXIT_PASSED:
        raise SettingsError(fault or silent)


def _report(check: Callable[[], object], report: int) -> None:
    try:
        os.dup2(2, 1)  # the import of a module may print to the output of a command
        check()
        os._exit(EXIT_PASSED)
    except SettingsError as error:
        os.write(report, "\n  ".join(error.faults).encode())
    finally:
        os._exit(1)


def _profile_fault(reference: str, fault: str) -> str:
    return f"AVATAR_TELEMETRY_PROFILE={reference!r}: must be module:NAME of a Profile; {fault}"


def check_endpoint(settings: Settings) -> None:
    """Check whether the separate port can be bound, if it is set.

    Raises:
        SettingsError: the port cannot be bound.
    """
    if settings.prometheus_endpoint is None:
        return
    address = settings.prometheus_endpoint
    try:
        open_server(address).server_close()
    except OSError as error:
        raise SettingsError(bind_fault(settings.port_variable, address, error)) from error


def check_folder(named: str, upgrades: int) -> None:
    """Check whether a named runtime directory, if it exists, can be used. Changes nothing.

    Args:
        named: ``PROMETHEUS_MULTIPROC_DIR``, or an empty text.
        upgrades: the process id of the master that this one replaces (USR2), else 0.

    Raises:
        SettingsError: the directory cannot be used.
    """
    path = Path(named)
    if not named or not path.exists():
        return
    if not path.is_dir():
        raise SettingsError(f"PROMETHEUS_MULTIPROC_DIR={named!r}: must be a directory")
    others = [str(pid) for pid in living_masters(path) if pid != upgrades]
    if others:
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={named!r}: must be a directory of its own; process"
            f" {', '.join(others)} uses this one"
        )
    check_writable(path)


def check_writable(folder: Path) -> None:
    """Check whether the effective user, that of the workers, can use the runtime directory.

    Raises:
        SettingsError: the user cannot use it.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={str(folder)!r}: must be a directory that user id"
            f" {os.geteuid()} can read and write"
        )


def check_space(folder: Path, settings: Settings) -> None:
    """Check the space for the files and the rings of a slot, by allocating it temporarily.

    Args:
        folder: the runtime directory.
        settings: the settings of the rings.

    Raises:
        SettingsError: there is not enough space.
    """
    size = SLOT_SIZE + settings.ring_size * len(ring_signals(settings))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), size)
    except OSError as error:
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={str(folder)!r}: no space for the {size >> 10} KiB of a"
            f" worker's files: {error.strerror or error}; free some space (/dev/shm of a container:"
            " --shm-size=256m) or set another directory",
            what="the runtime directory cannot be used",
        ) from error


def warn_of_interpreter(settings: Settings) -> None:
    """Warn if the effective user, that of the workers, cannot start an exporter."""
    executable = sys.executable or ""
    if settings.exporter in ("thread", "none") or os.access(
        executable, os.X_OK, effective_ids=True
    ):
        return
    LOGGER.warning(UNUSABLE_INTERPRETER, os.geteuid(), executable)
