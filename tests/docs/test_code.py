"""The code in the documentation: it compiles, parses, and runs where it says so."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest requires it there

from tests.support.build_servers import promtool
from tests.support.documents import Block, blocks, pages
from tests.support.paths import REPOSITORY
from tests.support.real_servers import find
from tests.support.requirements import unavailable
from tests.support.running import DEADLINE, environment

LANGUAGES = {"python", "sh", "yaml", "toml", "json", "ini", "nginx", "promql", "text",
             "mermaid"}  # fmt: skip
BLOCKS = [block for page in pages() for block in blocks(page)]
HOOKS = ("child_exit", "on_exit", "on_starting", "post_fork", "worker_abort", "worker_exit")


def written_in(*languages: str) -> list[Any]:
    """The blocks in these languages, as parameters."""
    return [pytest.param(each, id=each.name) for each in BLOCKS if each.language in languages]


def test_every_block_names_its_language() -> None:
    """There is no block of which nobody knows what it is."""
    unknown = [each.name for each in BLOCKS if each.language not in LANGUAGES]
    assert unknown == []


def test_only_python_runs() -> None:
    """No other block says that it is complete, for nobody would run it."""
    assert [b.name for b in BLOCKS if b.complete and b.language != "python"] == []
    assert [b.name for b in BLOCKS if b.complete] != []


@pytest.mark.parametrize("block", written_in("python"))
def test_python_compiles(block: Block) -> None:
    """A block of Python is whole statements."""
    compile(block.text, block.name, "exec")


@pytest.mark.parametrize("page", ["README.md", "docs/wrapping-ivatar.md"])
def test_the_configuration_of_gunicorn(page: str) -> None:
    """Whoever copies it gets all hooks, and no control socket that two servers would share."""
    (text,) = [
        block.text
        for block in blocks(REPOSITORY / page)
        if block.language == "python" and "avatar_telemetry.gunicorn import" in block.text
    ]
    names = set(re.findall(r"\w+", text))
    assert {*HOOKS, "control_socket_disable"} <= names


@pytest.mark.parametrize(
    "block", [pytest.param(each, id=each.name) for each in BLOCKS if each.complete]
)
def test_complete_python_runs(block: Block, tmp_path: Path) -> None:
    """A block that says it is complete runs in a new interpreter."""
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", written_in("sh"))
def test_shell_parses(block: Block) -> None:
    """A block of shell is one that bash understands."""
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", written_in("yaml"))
def test_yaml_parses(block: Block) -> None:
    """A block of YAML is one."""
    assert list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("block", written_in("promql"))
def test_promql_parses(block: Block) -> None:
    """A block of PromQL is an expression that Prometheus' own tool can write out again."""
    if not promtool().exists():
        unavailable("promtool is not built; see tests/support/build_servers.py")
    command = [str(promtool()), "--experimental", "promql", "format", block.text]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", written_in("nginx"))
def test_nginx_takes_it(block: Block, tmp_path: Path) -> None:
    """A block of nginx' configuration stands in a server, and nginx finds nothing wrong."""
    path = tmp_path / "nginx.conf"
    server = f"server {{ listen unix:{tmp_path}/socket; access_log off;\n{block.text} }}"
    path.write_text(f"pid {tmp_path}/pid; events {{}} http {{ {server} }}", encoding="utf-8")
    command = [find("nginx"), "-t", "-q", "-c", str(path), "-e", f"{tmp_path}/error.log"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_ini_parses() -> None:
    """Each block of a unit is sections of ``Name=value``; a name may come again."""
    for block in BLOCKS:
        if block.language == "ini":
            configparser.ConfigParser(strict=False).read_string(block.text, block.name)


def test_json_parses() -> None:
    """Each block of JSON is one."""
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.text)


def test_toml_parses() -> None:
    """Each block of TOML is one."""
    for block in BLOCKS:
        if block.language == "toml":
            tomllib.loads(block.text)
