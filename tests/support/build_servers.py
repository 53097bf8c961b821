"""Build the real servers that no package manager has in the version that the tests want.

    python3 tests/support/build_servers.py [NAME ...]

Without a name all of them. What is built is kept outside of the repository, in a cache folder named
by its version, so that it is built once for a machine; of two builders at once the second waits for
what the first makes. Needs Go. Only the standard library is used here.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROMETHEUS = "v0.316.0"
OPERATOR_MODULE = "github.com/prometheus-operator/prometheus-operator"
OPERATOR = "v0.80.1"
COLLECTOR = "v0.155.0"
GO = (1, 21)
"""The oldest Go that fetches by itself the newer one that a module asks for."""
CORE = "go.opentelemetry.io/collector"
CONTRIB = "github.com/open-telemetry/opentelemetry-collector-contrib"
MODULES = {
    "receivers": [f"{CORE}/receiver/otlpreceiver"],
    "processors": [
        f"{CORE}/processor/batchprocessor",
        f"{CORE}/processor/memorylimiterprocessor",
        f"{CONTRIB}/processor/attributesprocessor",
        f"{CONTRIB}/processor/resourceprocessor",
        f"{CONTRIB}/processor/tailsamplingprocessor",
    ],
    "exporters": [
        f"{CORE}/exporter/debugexporter",
        f"{CORE}/exporter/otlpexporter",
        f"{CORE}/exporter/otlphttpexporter",
        f"{CONTRIB}/exporter/prometheusexporter",
    ],
    "connectors": [f"{CONTRIB}/connector/spanmetricsconnector"],
    "extensions": [f"{CONTRIB}/extension/healthcheckextension"],
}


def cache_folder() -> Path:
    """Where built servers are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "avatar-telemetry-tests"


def prometheus() -> Path:
    """Where Prometheus is, if it was built."""
    return cache_folder() / f"prometheus-{PROMETHEUS}" / "prometheus"


def promtool() -> Path:
    """Where Prometheus' tool that checks rules is, if it was built."""
    return cache_folder() / f"promtool-{PROMETHEUS}" / "promtool"


def operator_schemas() -> Path:
    """Where the resource definitions of the Prometheus Operator are, if they were fetched."""
    return cache_folder() / f"operator-{OPERATOR}" / "schemas"


def fetch_operator_schemas(folder: Path) -> None:
    """Put the resource definitions of the Prometheus Operator into a folder."""
    command = ["go", "mod", "download", "-json", f"{OPERATOR_MODULE}@{OPERATOR}"]
    environ = {**os.environ, "GOFLAGS": "-mod=mod"}
    output = subprocess.run(command, env=environ, cwd=folder, check=True, capture_output=True)
    module = Path(json.loads(output.stdout)["Dir"])
    shutil.copytree(module / "example" / "prometheus-operator-crd", folder / "schemas")


def otelcol() -> Path:
    """Where the OpenTelemetry Collector is, if it was built with these modules."""
    modules = hashlib.sha256(manifest(Path()).encode()).hexdigest()[:8]
    return cache_folder() / f"otelcol-{COLLECTOR}-{modules}" / "otelcol"


def manifest(output: Path) -> str:
    """The configuration of the collector's builder.

    Args:
        output: the folder in which it writes the sources and the program.
    """
    lines = ["dist:", "  name: otelcol", f"  version: {COLLECTOR[1:]}", f"  output_path: {output}"]
    for kind, modules in MODULES.items():
        lines.append(f"{kind}:")
        lines += [f"  - gomod: {module} {COLLECTOR}" for module in modules]
    return "\n".join([*lines, ""])


def install(module: str, version: str, folder: Path) -> None:
    """Put a Go module's program into a folder."""
    environ = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    command = ["go", "install", "-ldflags=-s -w", f"{module}@{version}"]
    subprocess.run(command, env=environ, cwd="/", check=True)


def assemble_collector(folder: Path) -> None:
    """Put a collector of the listed modules into a folder."""
    install(f"{CORE}/cmd/builder", COLLECTOR, folder)
    configuration = folder / "manifest.yaml"
    configuration.write_text(manifest(folder / "sources"))
    environ = {**os.environ, "GOFLAGS": "-mod=mod"}
    command = [str(folder / "builder"), "--config", str(configuration)]
    subprocess.run(command, env=environ, cwd=folder, check=True)
    (folder / "sources" / "otelcol").replace(folder / "otelcol")


def build(binary: Path, make: Callable[[Path], None]) -> None:
    """Build a program where it is missing; it gets its final name only when it is whole.

    Args:
        binary: where it shall be.
        make: puts a program of this name into a folder that it is given.
    """
    with _only_builder():
        if binary.exists():
            return
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="unfinished-") as folder:
            make(Path(folder))
            binary.parent.mkdir(exist_ok=True)
            (Path(folder) / binary.name).replace(binary)


def require_go() -> None:
    """End with a clear message where there is no Go that can build these."""
    wanted = f"building the servers needs Go {GO[0]}.{GO[1]} or newer (https://go.dev/dl/)"
    if shutil.which("go") is None:
        sys.exit(f"{wanted}; there is no 'go' on the path")
    said = subprocess.run(["go", "version"], capture_output=True, text=True, cwd="/").stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is None or tuple(map(int, version.groups())) < GO:
        sys.exit(f"{wanted}; this is {said.strip()!r}")


@contextmanager
def _only_builder() -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with open(cache_folder() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it when its holder dies
        yield


SERVERS: dict[str, tuple[Callable[[], Path], Callable[[Path], None]]] = {
    "prometheus": (
        prometheus,
        lambda folder: install(
            "github.com/prometheus/prometheus/cmd/prometheus", PROMETHEUS, folder
        ),
    ),
    "operator-schemas": (operator_schemas, fetch_operator_schemas),
    "otelcol": (otelcol, assemble_collector),
    "promtool": (
        promtool,
        lambda folder: install("github.com/prometheus/prometheus/cmd/promtool", PROMETHEUS, folder),
    ),
}


def main(names: list[str]) -> None:
    """Build what is named and missing, and say where each is."""
    unknown = sorted(set(names) - set(SERVERS))
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(SERVERS)}")
    for name in names or SERVERS:
        where, make = SERVERS[name]
        if not where().exists():
            require_go()
            start = time.monotonic()
            build(where(), make)
            print(f"{name}: built in {time.monotonic() - start:.0f} s")
        print(where(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
