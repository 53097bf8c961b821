"""The layers, read from the syntax tree: imports go down only."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import avatar_telemetry
from avatar_telemetry.cli import REQUIRED

PACKAGE = Path(avatar_telemetry.__file__).parent
LAYERS = (
    {
        "config",
        "client",
        "store",
        "wsgi",
        "scrape",
        "export",
        "exporter",
        "log_records",
        "client/authority",
        "log_records/correlation",
        "errors",
        "config/doubts",
        "client/excluded",
        "store/family",
        "store/files",
        "client/forwarded",
        "guard",
        "client/headers",
        "store/labels",
        "log",
        "logs",
        "memo",
        "otel_private",
        "config/otlp",
        "config/parsing",
        "client/privacy",
        "scrape/process",
        "profile",
        "profiles",
        "config/resource",
        "client/scrub",
        "client/semconv",
        "config/settings",
        "probes/sql",
        "config/variable",
    },
    {
        "log_records/encoder",
        "exporter/bridge",
        "exporter/clients",
        "exporter/continuity",
        "exporter/counts",
        "exporter/failures",
        "exporter/rings",
        "exporter/signals",
        "store/api_instruments",
        "store/api_meters",
        "store/api_observers",
        "store/api_series",
        "store/folder",
        "log_records/export",
        "store/instruments",
        "store/mapped",
        "store/metrics",
        "store/slots",
        "store/declarations",
        "store/group",
        "store/layout",
        "store/merged",
        "store/metric_file",
        "store/series",
        "tracing",
    },
    {
        "wsgi/body",
        "exporter/bootstrap",
        "exporter/launch",
        "exporter/page",
        "exporter/process",
        "exporter/pusher",
        "exporter/service",
        "by_hand",
        "scrape/collector",
        "scrape/registered",
        "decorators",
        "scrape/exposition",
        "wsgi/head",
        "wsgi/endings",
        "wsgi/middleware",
        "wsgi/names",
        "wsgi/outcome",
        "scrape/port",
        "probes",
        "wsgi/request",
        "wsgi/request_spans",
        "wsgi/server_timing",
        "wsgi/telemetry",
        "wsgi/upload",
        "worker",
    },
    {
        "_instrument",
        "entry_point",
        "gunicorn",
        "log_records/pipeline",
        "recording",
        "tracing/pipeline",
        "runtime",
        "startup",
        "testing",
        "wsgi_app",
    },
    {
        "__init__",
        "cli",
    },
    {
        "__main__",
    },
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")
)


def source_of(module: str) -> str:
    return (PACKAGE / f"{module}.py").read_text(encoding="utf-8")


@cache
def nodes_of(module: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(source_of(module))))


@cache
def imported(module: str) -> frozenset[str]:
    """Modules of the package that a module imports at run time, as paths below it."""
    tree = ast.parse(source_of(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.replace(".", "/").removeprefix("avatar_telemetry/") for name in names
                  if name.startswith("avatar_telemetry.")}  # fmt: skip
    return frozenset(found.intersection(MODULES))


def level(module: str) -> int:
    return LEVEL.get(module, LEVEL.get(module.partition("/")[0], -1))


def test_imports_go_down_only() -> None:
    """A module imports modules of its own layer and of lower ones."""
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in sorted(imported(module))
        if level(other) > level(module)
    ]
    assert not wrong


def test_there_is_no_import_cycle() -> None:
    """Modules can be put into an order in which each comes after what it imports."""
    waiting = {module: imported(module) - {module} for module in MODULES}
    while waiting:
        ready = {module for module, needs in waiting.items() if not needs & set(waiting)}
        assert ready, f"a cycle among {sorted(waiting)}"
        waiting = {module: needs for module, needs in waiting.items() if module not in ready}


def test_house_rules() -> None:
    """No assert, no global; what catches everything passes it on, logs it, or says why not."""
    wrong = []
    for module in MODULES:
        lines = source_of(module).splitlines()
        for node in nodes_of(module):
            if isinstance(node, (ast.Assert, ast.Global)):
                wrong.append(f"{module}:{node.lineno}")
            elif isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                if caught in ("everything", "Exception"):
                    text = ast.unparse(node)
                    reported = any(word in text for word in ("raise", "exc_info", "exception("))
                    if not reported and "BLE001 - " not in lines[node.lineno - 1]:
                        wrong.append(f"{module}:{node.lineno}")
    assert not wrong


def test_the_face_of_the_package() -> None:
    """What ``__all__`` lists can be imported, and what can be imported is listed."""
    assert all(
        getattr(avatar_telemetry, name).__module__.startswith("avatar_telemetry.")
        for name in avatar_telemetry.__all__
    )
    lazy = [name for names in avatar_telemetry._MODULES.values() for name in names]
    assert sorted(lazy) == sorted(avatar_telemetry.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        avatar_telemetry.nothing  # noqa: B018


def test_locks_are_named_where_they_are_made() -> None:
    """``threading.Lock`` is looked up in the worker: gevent patches it after our import."""
    by_name = [
        module
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, ast.ImportFrom) and node.module == "threading"
        if "Lock" in {alias.name for alias in node.names}
    ]
    assert not by_name


def test_only_the_command_imports_its_extra() -> None:
    """The packages of the extra ``cli`` are imported below ``cli`` alone."""
    extra = set(REQUIRED)
    importers = {
        module
        for module in MODULES
        for node in nodes_of(module)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
        )
        if name.partition(".")[0] in extra
    }
    assert importers
    assert {module for module in importers if not module.startswith("cli/")} == set()
