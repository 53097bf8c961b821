"""Build the real servers that no package manager has in the version that the tests want.

    python3 tests/build_servers.py

What is built is kept outside of the repository, in a cache folder named by its version, so that it
is built once for a machine. Needs Go. Only the standard library is used here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROMETHEUS = "v0.316.0"


def cache_folder() -> Path:
    """Where built servers are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "avatar-telemetry-tests"


def prometheus() -> Path:
    """Where Prometheus is, if it was built."""
    return cache_folder() / f"prometheus-{PROMETHEUS}" / "prometheus"


def build(binary: Path, module: str, version: str) -> None:
    """Install a Go program, under its final name only when it is whole."""
    if binary.exists():
        return
    if shutil.which("go") is None:
        sys.exit(f"{binary.name}: needs Go to build")
    unfinished = binary.parent.with_suffix(f".{os.getpid()}")
    unfinished.mkdir(parents=True)
    environ = {**os.environ, "GOBIN": str(unfinished), "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "install", f"{module}@{version}"], env=environ, cwd="/", check=True)
    binary.parent.mkdir(parents=True, exist_ok=True)
    (unfinished / binary.name).replace(binary)
    unfinished.rmdir()


if __name__ == "__main__":
    build(prometheus(), "github.com/prometheus/prometheus/cmd/prometheus", PROMETHEUS)
    print(prometheus())
