"""Deliberate faults in the package, and whether the unit tests notice them.

    python -m tests.support.mutants [NAME...]

Each fault is applied to a copy of the package in a temporary folder, and the unit tests of its
module run there. A fault that no test notices is a missing test. One that makes them hang is
reported apart: no test has failed, and it does not count as noticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults import FAULTS, Fault
from tests.support.paths import REPOSITORY

PACKAGE = "avatar_telemetry"
MIN_SHARE = 0.9
"""Share of the faults that the tests have to notice."""
TIMEOUT = 120.0
"""Seconds after which the tests of a fault are stopped."""
MAX_FAULTLESS = 1800.0
"""Seconds that all of the tests may take without a fault."""


class FaultTextError(Exception):
    """The text of a fault does not stand in its module exactly once."""


@dataclass(frozen=True)
class Copy:
    """A copy of the package and its tests, in which faults are applied.

    Args:
        root: the folder of the copy.
    """

    root: Path

    @classmethod
    def make(cls, root: Path) -> Copy:
        """Copy what the unit tests of the package need."""
        ignored = shutil.ignore_patterns("__pycache__")
        for name in (PACKAGE, "tests"):
            shutil.copytree(REPOSITORY / name, root / name, ignore=ignored, symlinks=True)
        for path in REPOSITORY.iterdir():
            if not path.name.startswith(".") and not (root / path.name).exists():
                (root / path.name).symlink_to(path)
        return cls(root)

    def outcome(self, fault: Fault, timeout: float = TIMEOUT) -> str:
        """Return what the tests do with the fault applied: ``noticed``, ``MISSED`` or ``HANGS``."""
        path = self.root / PACKAGE / fault.module
        original = path.read_text(encoding="utf-8")
        path.write_text(changed(fault, original), encoding="utf-8")
        try:
            return "MISSED" if self.passes(relevant_tests(fault), timeout) else "noticed"
        except subprocess.TimeoutExpired:
            return "HANGS"
        finally:
            path.write_text(original, encoding="utf-8")

    def passes(self, tests: tuple[str, ...], timeout: float) -> bool:
        """Return whether the tests of these files pass in a process of their own.

        Raises:
            subprocess.TimeoutExpired: they have not ended in time.
        """
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider"]
        environ = {"PYTHONPATH": str(self.root), "HYPOTHESIS_PROFILE": "unshrunk"}
        process = subprocess.Popen(
            [*command, *tests], cwd=self.root, env=os.environ | environ,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()


def changed(fault: Fault, text: str) -> str:
    """The text of a module with the fault in it.

    Raises:
        FaultTextError: the old text is not in it, or more than once.
    """
    count = text.count(fault.old)
    if count != 1:
        raise FaultTextError(f"{fault.name}: its text occurs {count} times in {fault.module}")
    return text.replace(fault.old, fault.new)


def relevant_tests(fault: Fault) -> tuple[str, ...]:
    """The test files of a fault, relative to the repository: that of its module and those named."""
    names = (fault.module.removesuffix(".py"), *fault.also)
    paths = [f"tests/unit/{Path(name).parent}/test_{Path(name).name}.py" for name in names]
    found = tuple(path for path in paths if (REPOSITORY / path).exists())
    if not found:
        raise FileNotFoundError(f"{fault.name}: there is no {paths[0]}")
    return found


def main(names: list[str]) -> int:
    """Try the named faults, or all of them.

    Returns:
        The status of the command: 0 where enough of them are noticed.
    """
    unknown = set(names) - {fault.name for fault in FAULTS}
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}")
        return 2
    faults = [fault for fault in FAULTS if not names or fault.name in names]
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy.make(Path(folder))
        tests = tuple(sorted({path for fault in faults for path in relevant_tests(fault)}))
        if not copy.passes(tests, MAX_FAULTLESS):
            print("the tests fail without any fault")
            return 2
        outcomes: Counter[str] = Counter()
        for fault in faults:
            outcome = copy.outcome(fault)
            outcomes[outcome] += 1
            print(f"{outcome:7} {fault.name}: {fault.breaks}", flush=True)
    noticed = outcomes["noticed"]
    share = noticed / len(faults)
    print(f"{noticed} of {len(faults)} noticed ({share:.0%}), {outcomes['HANGS']} hang")
    return 0 if share >= MIN_SHARE else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
