"""The doctor's checks of the host: file systems, cleaners of old files, Kubernetes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from avatar_telemetry.cli.checks import host
from avatar_telemetry.cli.checks.host import check_host, cleaners, file_system, removes_ipc
from avatar_telemetry.config.settings import Settings

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:20 / /dev/shm rw,nosuid shared:2 - tmpfs shm rw,size=65536k
24 22 0:21 / /run rw,nosuid shared:3 master:1 - tmpfs run rw
25 24 8:2 / /run/on\040disk rw - xfs /dev/sdb rw
26 24 0:22 / /run/hidden rw - xfs /dev/sdc rw
27 24 0:23 / /run/hidden rw - tmpfs over rw
a broken line
"""
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration files of a host with systemd."""
    root = tmp_path / "root"
    (root / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(host, "ROOT", root)
    return root


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/dev/shm/avatar-telemetry-x", "tmpfs"),
        ("/dev/shmall", "ext4"),
        ("/run/ivatar", "tmpfs"),
        ("/run/on disk/ivatar", "xfs"),
        ("/run/hidden/ivatar", "tmpfs"),
        ("/", "ext4"),
    ],
)
def test_file_system(path: str, kind: str) -> None:
    """The mount point that is nearest to a path, and the last of several there, decides."""
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        pytest.param(["q /tmp 1777 root root 10d"], "10d", id="parent"),
        pytest.param(["D! /tmp 1777 root root 10d"], "10d", id="boot only"),
        pytest.param(["d /tmp/ivatar - - - 1h"], "1h", id="itself"),
        pytest.param(["e /tmp/iv* - - - 0"], "0", id="pattern"),
        pytest.param(["D /tmp 1777 root root -"], "", id="no age"),
        pytest.param(["D /tmp 1777 root root"], "", id="short line"),
        pytest.param(["q /var/tmp 1777 root root 30d"], "", id="elsewhere"),
        pytest.param(["q /tmp 1777 root root 10d", "x /tmp/ivatar"], "", id="excluded"),
        pytest.param(["q /tmp 1777 root root 10d", "x /tmp/iv*"], "", id="excluded by pattern"),
        pytest.param(["q /tmp 1777 root root 10d", "X /tmp/ivatar"], "", id="itself excluded"),
        pytest.param(["q /tmp 1777 root root 10d", "d /tmp/ivatar 0700 - -"], "", id="own line"),
        pytest.param(["r /tmp/ivatar", "# q /tmp 1777 root root 10d", ""], "", id="other lines"),
    ],
)
def test_systemd_tmpfiles(root: Path, lines: list[str], age: str) -> None:
    """The nearest line that names a directory or its parent decides whether it is cleaned."""
    write(root / "usr/lib/tmpfiles.d/tmp.conf", *lines)
    found = [each.age for each in cleaners(Path("/tmp/ivatar"))]
    assert found == ([age] if age else [])


def test_a_file_of_the_administrator_replaces_the_vendors(root: Path) -> None:
    """A file in /etc hides that of the same name in /usr/lib."""
    write(root / "usr/lib/tmpfiles.d/tmp.conf", "q /tmp 1777 root root 10d")
    (one,) = cleaners(Path("/tmp/ivatar"))
    assert one.source == root / "usr/lib/tmpfiles.d/tmp.conf"
    assert one.fix == "the line 'x /tmp/ivatar' in /etc/tmpfiles.d/avatar-telemetry.conf"
    write(root / "etc/tmpfiles.d/tmp.conf", "q /tmp 1777 root root -")
    assert not list(cleaners(Path("/tmp/ivatar")))


def test_systemd_does_not_run(root: Path) -> None:
    """In a container the files of systemd are installed, and nothing reads them."""
    write(root / "usr/lib/tmpfiles.d/tmp.conf", "q /tmp 1777 root root 10d")
    (root / "run/systemd/system").rmdir()
    assert not list(cleaners(Path("/tmp/ivatar")))
    assert not removes_ipc(1000)


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        pytest.param([], "7d", id="defaults"),
        pytest.param(["TMPREAPER_TIME=2d", "TMPREAPER_DIRS='/var/tmp/. /tmp/.'"], "2d", id="set"),
        pytest.param(["TMPREAPER_DIRS='/var/tmp/.'"], "", id="elsewhere"),
        pytest.param(["SHOWWARNING=true"], "", id="not enabled"),
        pytest.param(["TMPREAPER_PROTECT_EXTRA='/tmp/x /tmp/ivatar*'"], "", id="protected"),
    ],
)
def test_tmpreaper(root: Path, lines: list[str], age: str) -> None:
    """Debian's tmpreaper cleans its directories, except what is protected."""
    write(root / "etc/tmpreaper.conf", "# tmpreaper", "TMPREAPER_DELAY=256", *lines)
    assert [each.age for each in cleaners(Path("/tmp/ivatar"))] == ([age] if age else [])


def test_a_cleaner_is_a_warning(root: Path, tmp_path: Path) -> None:
    """The finding names the file, the age and the line that excludes the directory."""
    write(root / "etc/tmpfiles.d/all.conf", f"e {tmp_path} - - - 5d")
    folder = tmp_path / "metrics"
    settings = Settings.from_env({"PROMETHEUS_MULTIPROC_DIR": str(folder)})
    (found,) = (each for each in check_host(settings, {}) if each.check == "host.cleaner")
    assert found.level == "warning"
    assert "5d old" in found.message and "all.conf" in found.message
    assert f"x {folder}" in found.advice


@pytest.mark.parametrize(
    ("user", "lines", "removed"),
    [
        pytest.param(1000, [], True, id="default"),
        pytest.param(999, [], False, id="system user"),
        pytest.param(1000, ["[Login]", "RemoveIPC=no"], False, id="off"),
        pytest.param(1000, ["[Login]", "#RemoveIPC=no"], True, id="comment"),
        pytest.param(1000, ["RemoveIPC=no"], True, id="no section"),
    ],
)
def test_remove_ipc(root: Path, user: int, lines: list[str], removed: bool) -> None:
    """logind removes files of users with sessions, unless it is configured not to."""
    write(root / "etc/systemd/logind.conf", *lines)
    assert removes_ipc(user) is removed


def test_a_later_file_of_logind_takes_precedence(root: Path) -> None:
    """A file in the .conf.d directory overrides the main file."""
    write(root / "etc/systemd/logind.conf", "[Login]", "RemoveIPC=no")
    write(root / "etc/systemd/logind.conf.d/50-ours.conf", "[Login]", "RemoveIPC=yes")
    assert removes_ipc(1000)


def pod(folder: Path, **environ: str) -> dict[str, str]:
    """The findings of a server in a pod, with their levels."""
    given = {"PROMETHEUS_MULTIPROC_DIR": str(folder), **environ}
    found = check_host(Settings.from_env(given), {**given, **POD})
    return {each.check: each.level for each in found if each.check != "host.read_only"}


def test_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Kubernetes the directory must be in memory, and the instance is the pod."""
    monkeypatch.setattr(host, "file_system", lambda path, table: "tmpfs")
    name = os.uname().nodename
    assert pod(tmp_path, HOSTNAME=name) == {"host.memory": "good", "host.pod": "good"}
    monkeypatch.setattr(host, "file_system", lambda path, table: "overlay")
    assert pod(tmp_path, HOSTNAME="ivatar") == {"host.disk": "warning", "host.pod": "note"}


def test_outside_of_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a directory on a disk is a note, and no pod is mentioned."""
    monkeypatch.setattr(host, "file_system", lambda path, table: "ext4")
    settings = Settings.from_env({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    found = {each.check: each.level for each in check_host(settings, {})}
    assert found.pop("host.read_only", "note") == "note"
    assert found == {"host.disk": "note"}


def test_nothing_is_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any directory for temporary files the cause is one error, not a traceback."""

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(host.tempfile, "gettempdir", nowhere)
    (found,) = check_host(Settings.from_env({}), {})
    assert (found.check, found.level) == ("host.no_temporary", "error")


def test_a_read_only_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only root file system is a note with the directories that are used instead."""
    monkeypatch.setattr(host, "_is_read_only", lambda path: True)
    settings = Settings.from_env({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    found = next(each for each in check_host(settings, {}) if each.check == "host.read_only")
    assert tempfile.gettempdir() in found.message and str(tmp_path) in found.message
