"""Fixtures that most tests need, and the rules that hold for all of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from opentelemetry import trace

from tests.support import requirements
from tests.support.leaks import LeakCheck
from tests.support.paths import REPOSITORY
from tests.support.recorder import Recorder, watched
from tests.support.requirements import unavailable

TESTS = REPOSITORY / "tests"

# Hundreds of interpreters start here: without bytecode each would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No deadline: the duration of an example means nothing while other processes use the machine.
for name, examples in (("default", 20), ("thorough", 200)):
    hypothesis.settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
# For deliberate faults, of which only the first failure counts (tests/support/mutants.py).
hypothesis.settings.register_profile(
    "unshrunk",
    hypothesis.settings.get_profile("default"),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A shell's job in the background (nohup, a script's "&") ignores Ctrl-C, and so would all programs
# that the tests start; some are sent it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each processor: most tests wait for processes and servers."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_configure(config: pytest.Config) -> None:
    """Check for leaks; fail skips in CI; leave out slow tests unless ``-m`` names them."""
    config.pluginmanager.register(requirements)
    config.pluginmanager.register(LeakCheck())
    expression = config.option.markexpr
    if "slow" not in expression:
        config.option.markexpr = f"({expression}) and not slow" if expression else "not slow"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect unit tests alone for ``-m unit``: each worker of xdist imports what is collected."""
    unit_only = config.option.markexpr == "(unit) and not slow"
    other = collection_path.parent == TESTS and collection_path.is_dir()
    return True if unit_only and other and collection_path.name != "unit" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder, unless it names another kind itself."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if not any(item.get_closest_marker(kind) for kind in ("e2e", "servers")):
            item.add_marker("docs" if folder == "deploy" else folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates that a test logged: xdist sends reports as UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def as_root() -> None:
    """What the test does is allowed to root alone."""
    if os.geteuid() != 0:
        unavailable("only root can act as another user")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    yield from watched(Recorder(tmp_path))


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Recorder]:
    """A recorder of spans, too."""
    yield from watched(Recorder(tmp_path, traced=True))
    assert trace.get_current_span() is trace.INVALID_SPAN
