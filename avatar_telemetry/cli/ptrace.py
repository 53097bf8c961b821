"""The right to read the memory of another process (ptrace(2)), and the fix where it is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SYS_PTRACE = 19
"""The number of the capability (capabilities(7), ``linux/capability.h``)."""
SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
FILTERED = "2"
"""``Seccomp`` in ``/proc/self/status`` of a process with a filter (proc(5))."""
CONTAINER = (
    "give it the capability: docker run --cap-add SYS_PTRACE, in Kubernetes"
    " securityContext.capabilities.add: [SYS_PTRACE]"
)
AS_ROOT = 'run it as root: sudo "$(command -v avatar-telemetry)" profile DIRECTORY ...'
SECCOMP = (
    "the seccomp profile of this container blocks ptrace or process_vm_readv; docker run --cap-add"
    " SYS_PTRACE (or --security-opt seccomp=unconfined), in Kubernetes seccompProfile.type:"
    " Unconfined for a debug container"
)


@dataclass(frozen=True)
class Rights:
    """The facts that decide about the access to a process.

    Args:
        user: the effective user id of this process.
        owner: the user id of the other process.
        capable: whether this process has ``CAP_SYS_PTRACE``.
        scope: ``kernel.yama.ptrace_scope``, 0 without Yama.
        filtered: whether a seccomp filter applies to this process.
    """

    user: int
    owner: int
    capable: bool
    scope: int
    filtered: bool


def may_read(pid: int) -> bool:
    """Return whether this process may attach to another one, which the kernel checks when its
    memory is opened (ptrace(2), "Ptrace access mode checking").

    Raises:
        ProcessLookupError: the process has ended.
    """
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    return True


def read_rights(pid: int) -> Rights:
    """Return the facts about this process and another one.

    Raises:
        ProcessLookupError: the other process has ended.
    """
    status = _status("self")
    scope = SCOPE.read_text() if SCOPE.exists() else "0"
    return Rights(
        os.geteuid(),
        int(_status(str(pid)).get("Uid", "0").split()[0]),
        bool(int(status.get("CapEff", "0"), 16) >> SYS_PTRACE & 1),
        int(scope),
        status.get("Seccomp") == FILTERED,
    )


def missing_right(rights: Rights) -> str:
    """Return the cause and the fix of a refused access, in one line."""
    if rights.scope == 3:
        return "kernel.yama.ptrace_scope=3 forbids it to every process until the machine restarts"
    if rights.capable and rights.filtered:
        return SECCOMP
    if rights.capable:
        return "a security module (AppArmor, SELinux) or another user namespace forbids it"
    if rights.user == 0:
        return f"root has no CAP_SYS_PTRACE in this container; {CONTAINER}"
    if rights.user != rights.owner:
        return (
            f"it belongs to user {rights.owner}, this command runs as user {rights.user}; {AS_ROOT}"
        )
    if rights.scope:
        others = "its parent" if rights.scope == 1 else "CAP_SYS_PTRACE"
        return (
            f"kernel.yama.ptrace_scope={rights.scope} allows it to {others} only; {AS_ROOT}, or"
            f" {'set it to 0 (sysctl kernel.yama.ptrace_scope=0), or ' * (rights.scope == 1)}"
            f"{CONTAINER}"
        )
    if rights.filtered:
        return SECCOMP
    return f"it has changed its user (gunicorn's setting user), which protects it; {AS_ROOT}"


def _status(process: str) -> Mapping[str, str]:
    try:
        text = Path("/proc", process, "status").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ProcessLookupError(f"process {process} has ended") from None
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}
