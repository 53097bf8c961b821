"""The files of the project fit together: package metadata, changelog, workflows and templates."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest requires it there

from avatar_telemetry._base.version import VERSION
from tests.support.documents import pages
from tests.support.paths import REPOSITORY

GITHUB = REPOSITORY / ".github"
PROJECT: dict[str, Any] = tomllib.loads(
    (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
)["project"]
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
YAML = sorted([*GITHUB.rglob("*.yml"), REPOSITORY / ".pre-commit-config.yaml"])


def joined(text: str) -> str:
    """A script with each command on one line."""
    return re.sub(r" *\\\n *", " ", text)


def runs_of(workflow: str) -> list[str]:
    """The commands of a workflow, one a line, in the order of its jobs."""
    content = yaml.safe_load((GITHUB / "workflows" / workflow).read_text(encoding="utf-8"))
    steps = [step for job in content["jobs"].values() for step in job["steps"]]
    return [line for step in steps for line in joined(step.get("run", "")).splitlines()]


@pytest.mark.parametrize("path", YAML, ids=lambda each: str(each.relative_to(REPOSITORY)))
def test_yaml_is_a_mapping(path: Any) -> None:
    """Each file that GitHub or pre-commit reads parses, and has keys at its top."""
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_workflow_runs_the_commands_of_ci() -> None:
    """Each command stands in ``.ci/run`` with all its arguments, but for the system packages of
    GitHub's own machine, which are some of those."""
    reference = joined((REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"))
    for command in runs_of("ci.yml"):
        if command.startswith("sudo apt-get install"):
            assert set(command.split("-qq ")[1].split()) <= set(reference.split())
        else:
            assert command.removeprefix("sudo ") in reference


def test_the_workflow_covers_the_commands_of_ci() -> None:
    """No checker, install or test of ``.ci/run`` is left out."""
    script = joined((REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"))
    programs = r"(?:env \S+ )?\.venv-ci/bin/(?:pip|python -m|ruff|mypy|tox)[^#\n]*"
    wanted = re.findall(programs, script)
    assert len(wanted) == 9
    assert {each.strip() for each in wanted} <= set(runs_of("ci.yml"))


def test_the_workflow_has_every_python() -> None:
    """The matrix is what the classifiers list."""
    matrix = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    pythons = matrix["jobs"]["tests"]["strategy"]["matrix"]["python"]
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert pythons == listed


def test_the_newest_release_is_the_version() -> None:
    """The changelog has an Unreleased section, then that of the version of the package."""
    headings = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", headings[1])


def test_the_address_of_the_repository_is_written_once() -> None:
    """But for the page that names the place, only the metadata has it."""
    address = PROJECT["urls"]["Repository"]
    assert all(url.startswith(address) for url in PROJECT["urls"].values())
    texts = [*pages(), *GITHUB.rglob("*.*"), REPOSITORY / "mkdocs.yml"]
    named = [path.name for path in texts if address in path.read_text(encoding="utf-8")]
    assert named == ["CONTRIBUTING.md"]
