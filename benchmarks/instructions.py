"""The instructions of a request, by callgrind: other load does not change them.

    python -m benchmarks.instructions [--quick] [--out FOLDER]

Needs valgrind. Counted are all threads of the process that serves; an exporter is another process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.command import run_part
from benchmarks.request import SAMPLED_PARENT, serve
from benchmarks.results import say
from benchmarks.sink import running_sink
from benchmarks.variants import VARIANTS, Variant

NAMES = ("bare", "metrics", "spans-0", "spans-100", "kept", "dropped", "otel-100")
APPLICATION = "trivial"
WARM_UP = 200
# Smaller than the batch that wakes an exporter's thread.
REQUESTS = 200


def run(quick: bool) -> dict[str, Any]:
    """The sums of all variants, and what each adds to the bare one."""
    results: dict[str, Any] = {}
    for name in NAMES:
        say(f"instructions: {name}")
        try:
            results[name] = count(VARIANTS[name])
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results[name] = {"failed": str(error)}
    bare = results["bare"].get("per_request")
    for name in NAMES[1:]:
        if bare is not None and "per_request" in results[name]:
            results[name]["added_k"] = round((results[name]["per_request"] - bare) / 1e3, 1)
    return results


def count(variant: Variant) -> dict[str, int]:
    """The instructions of one request, and the threads of the process that serves.

    Args:
        variant: what serves them.

    Raises:
        SystemExit: there is no valgrind.
        RuntimeError: it could not be measured.
    """
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed (Debian: apt-get install valgrind)")
    with running_sink() as sink, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        out = Path(folder) / "callgrind.out"
        command = [
            "valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--compress-pos=no",
            f"--callgrind-out-file={out}", sys.executable,
            "-m", "benchmarks.instructions", "--child", variant.module,
        ]  # fmt: skip
        own = {"PYTHONHASHSEED": "0", "OTEL_BSP_SCHEDULE_DELAY": "60000",
               "PROMETHEUS_MULTIPROC_DIR": f"{folder}/metrics"}  # fmt: skip
        (Path(folder) / "metrics").mkdir()
        child = subprocess.run(
            command, env=os.environ | variant.environment(sink) | own,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        expected = variant.spans * ((REQUESTS + WARM_UP) * variant.sample + 1)
        spans = sink.wait_for(expected)["spans"]
        if child.returncode:
            raise RuntimeError(child.stderr.strip().rpartition("\n")[2])
        if spans != expected:
            raise RuntimeError(f"{spans} spans at the sink, {expected:.0f} expected")
        counted = instructions_of(out.read_text(encoding="utf-8"))
    return {"per_request": counted // REQUESTS, "threads": int(child.stdout)}


def instructions_of(text: str) -> int:
    """Return the sum of a callgrind file.

    Raises:
        RuntimeError: it has none.
    """
    totals = re.search(r"^totals: (\d+)", text, re.M)
    if totals is None:
        raise RuntimeError("callgrind wrote no sum")
    return int(totals[1])


def child(module: str) -> None:
    """Serve requests, of which callgrind counts the later ones; write the number of threads."""
    wrapped = import_module(f"benchmarks.peers.{module}").wrap(APPLICATION)
    serve(wrapped.application, SAMPLED_PARENT)
    for _ in range(WARM_UP):
        serve(wrapped.application)
    wrapped.flush()
    _switch("on")
    for _ in range(REQUESTS):
        serve(wrapped.application)
    _switch("off")
    sys.stdout.write(str(len(os.listdir("/proc/self/task"))))
    sys.stdout.flush()
    wrapped.flush()
    os._exit(0)


def _switch(state: str) -> None:
    subprocess.run(
        ["callgrind_control", "-i", state, str(os.getpid())], check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        run_part("instructions", run, __doc__)
