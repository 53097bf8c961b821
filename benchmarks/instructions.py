"""How many instructions a request takes, by callgrind: what else the machine does is no matter.

    python -m benchmarks.instructions [--quick] [--out FOLDER]

Needs valgrind. ``benchmarks.functions`` tells the functions apart.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.command import run_part
from benchmarks.request import SAMPLED_PARENT, serve
from benchmarks.results import say
from benchmarks.sink import running_sink
from benchmarks.variants import VARIANTS, Variant

NAMES = ("bare", "metrics", "spans-0", "spans-100", "otel-0", "otel-100")
APPLICATION = "trivial"
WARM_UP = 200
SHOWN = 40
# Smaller than the batch that wakes an exporter: only the thread that serves is counted.
REQUESTS = 200
OURS = "/avatar_telemetry/"


def run(quick: bool) -> dict[str, Any]:
    """The sums of all variants."""
    results: dict[str, Any] = {}
    for name in NAMES:
        say(f"instructions: {name}")
        variant = VARIANTS[name]
        try:
            results[name] = {"per_request": count(variant)[0] // REQUESTS}
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results[name] = {"failed": str(error)}
    return results


def count(variant: Variant, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """All instructions of the requests, and those of each function in one.

    Args:
        variant: what serves them.
        options: of Python; with ``-X perf`` the functions are told apart.

    Raises:
        SystemExit: there is no valgrind.
        RuntimeError: it could not be measured.
    """
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed (Debian: apt-get install valgrind)")
    with running_sink() as sink, tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = [
            "valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", "--compress-pos=no",
            f"--callgrind-out-file={out}", sys.executable, *options,
            "-m", "benchmarks.instructions", "--child", variant.module, folder,
        ]  # fmt: skip
        own = {"PYTHONHASHSEED": "0", "OTEL_BSP_SCHEDULE_DELAY": "60000", "TMPDIR": folder}
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
        total, inclusive, calls = read_callgrind(out.read_text(encoding="utf-8"))
        names = read_names(Path(folder) / "functions")
    return total, [
        {
            "function": names[address],
            "calls": round(calls[address] / REQUESTS, 2),
            "instructions": inclusive[address] // REQUESTS,
        }
        for address, _ in inclusive.most_common()
        if address in names
    ][:SHOWN]


def read_callgrind(text: str) -> tuple[int, Counter[int], Counter[int]]:
    """What callgrind wrote.

    Returns:
        All instructions; instructions and calls of every function without a name, by its address.
    """
    inclusive: Counter[int] = Counter()
    calls: Counter[int] = Counter()
    known: dict[str, str] = {}
    called = ""
    lines = iter(text.splitlines())
    for line in lines:
        if match := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            if match[2]:
                known[match[1]] = match[2].partition("'")[0]
            called = known[match[1]]
        elif line.startswith("calls=") and called.startswith("0x"):
            calls[int(called, 16)] += int(line[6:].split()[0])
            inclusive[int(called, 16)] += int(next(lines).split()[-1])
    totals = re.search(r"^totals: (\d+)", text, re.M)
    return int(totals[1]) if totals else 0, inclusive, calls


def read_names(map_file: Path) -> dict[int, str]:
    """Address -> function, of those that are ours.

    Args:
        map_file: as Python writes it for perf; empty or absent without ``-X perf``.
    """
    if not map_file.exists():
        return {}
    found = {}
    for line in map_file.read_text(encoding="utf-8").splitlines():
        address, _, name = line.split(" ", 2)
        function, _, file = name.removeprefix("py::").partition(":")
        if OURS in file:
            found[int(address, 16)] = f"{Path(file).stem}.{function}"
    return found


def child(module: str, folder: str) -> None:
    """Serve requests; callgrind looks at the later ones only."""
    wrapped = import_module(f"benchmarks.peers.{module}").wrap(APPLICATION)
    serve(wrapped.application, SAMPLED_PARENT)
    for _ in range(WARM_UP):
        serve(wrapped.application)
    wrapped.flush()
    _switch("on")
    for _ in range(REQUESTS):
        serve(wrapped.application)
    _switch("off")
    wrapped.flush()
    names = Path(f"/tmp/perf-{os.getpid()}.map")  # where Python puts it
    if names.exists():
        shutil.move(names, Path(folder) / "functions")
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
