"""The names in the documentation: variables that are read, and metrics that are made."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from avatar_telemetry.config.settings import variables
from avatar_telemetry.config.typos import UNUSED
from tests.support.documents import literals, pages
from tests.support.paths import REPOSITORY

VARIABLE = re.compile(
    r"(?<![A-Z_.])(?:OTEL|AVATAR_TELEMETRY|IVATAR|DEMO|COLLECTOR|PROMETHEUS|TEST|BENCH|GUNICORN|DD"
    r"|DASHBOARD)_[A-Z_]*[A-Z](?![A-Z_*])"
)
METRIC = re.compile(
    r"(?<![\w:/.#])(?:ivatar|gunicorn|process|avatar_telemetry)_[a-z_]+[a-z](?![\w:./(*])"
)
SUFFIX = re.compile(r"_(?:total|bucket|count|sum|info)\Z")
# Of Datadog's Agent, of django-prometheus, and of Kubernetes.
KNOWN_ELSEWHERE = {
    "AVATAR_TELEMETRY_PORT",
    "DD_OTLP_CONFIG_RECEIVER_PROTOCOLS_HTTP_ENDPOINT", "PROMETHEUS_METRICS_EXPORT_PORT_RANGE",
}  # fmt: skip
# Not a metric: the Python of the dashboards.
WORDS = {"ivatar_boards"}
TEXTS = {".json", ".md", ".py", ".toml", ".yaml", ".yml"}
SOURCES = ("*.py", "*.yaml", "*.yml", "run", "environment", "*.service")


def words_of_file(path: Path) -> set[str]:
    """Every word in capitals in a file."""
    return set(re.findall(r"[A-Z][A-Z_]+[A-Z]", path.read_text(encoding="utf-8")))


@cache
def words_of(folder: Path) -> set[str]:
    """The same of the sources below a folder."""
    files = [path for pattern in SOURCES for path in folder.rglob(pattern)]
    return {word for path in files for word in words_of_file(path)}


READ = {name for each in variables() for name in (each.variable, each.alias) if name}
READ |= UNUSED.keys()


def is_metric(name: str) -> bool:
    """Whether the code makes it."""
    return bool({name, SUFFIX.sub("", name)} & literals())


@pytest.mark.parametrize("page", pages(), ids=lambda each: str(each.relative_to(REPOSITORY)))
def test_variables_are_read(page: Path) -> None:
    """Each variable on a page is one of the settings, or somebody's in this repository."""
    others = {
        word
        for folder in ("avatar_demo", "deploy", "tests", ".ci")
        for word in words_of(REPOSITORY / folder)
        if not word.startswith(("OTEL_", "AVATAR_TELEMETRY_"))
    }
    others |= words_of_file(REPOSITORY / "gunicorn.conf.py") | KNOWN_ELSEWHERE
    named = set(VARIABLE.findall(page.read_text(encoding="utf-8")))
    assert named - READ - others == set()


def test_random_states_have_one_name() -> None:
    """Code and documentation say random state, as the option of ``simulate`` does."""
    other = re.compile(r"(?<!PYTHONHASH)s[e]ed", re.IGNORECASE)
    folders = ("avatar_demo", "avatar_telemetry", "benchmarks", "deploy", "docs", "tests")
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    paths = [path for path in [*paths, *REPOSITORY.glob("*.*")] if path.suffix in TEXTS]
    assert [path for path in paths if other.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", pages(), ids=lambda each: str(each.relative_to(REPOSITORY)))
def test_metrics_exist(page: Path) -> None:
    """Each metric on a page is one that the code makes."""
    named = set(METRIC.findall(page.read_text(encoding="utf-8"))) - WORDS
    assert {name for name in named if not is_metric(name)} == set()
