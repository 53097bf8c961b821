"""Each folder is a layer, and the house rules: read from the syntax trees of all modules."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import avatar_telemetry
from avatar_telemetry.cli import REQUIRED

PACKAGE = Path(avatar_telemetry.__file__).parent
LAYERS = (
    "_base", "config", "profiles", "http", "metrics", "tracing", "logs", "exporter", "wsgi",
    "probes", "runtime", "api", "testing", "gunicorn", "wsgi_app", "__init__", "cli", "__main__",
)  # fmt: skip
"""The folders of the package and the modules at its top, from the bottom up."""
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


def layer(module: str) -> int:
    return LAYERS.index(module.partition("/")[0])


def test_imports_between_folders_go_down_only() -> None:
    """A folder imports folders below it in the list, never one above."""
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in sorted(imported(module))
        if layer(other) > layer(module)
    ]
    assert not wrong


def test_every_folder_is_a_layer() -> None:
    """The list has every folder of the package, and every module at its top."""
    assert {module.partition("/")[0] for module in MODULES} == set(LAYERS)


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
