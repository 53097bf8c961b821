"""Requirements of a test on the machine: without them it is skipped, and fails in CI.

Continuous integration sets ``TEST_REQUIRE_SERVERS``: there every skip is a failure, because a test
that silently stops running protects nothing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator
from types import ModuleType
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where everything is required."""
    if all_required():
        pytest.fail(reason)
    pytest.skip(reason)


def require(module: str, reason: str = "") -> ModuleType:
    """Import a module of an optional dependency; skips or fails the test where there is none."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        unavailable(reason or str(error))


def all_required() -> bool:
    """Return whether a skip is a failure, as in continuous integration."""
    return bool(os.environ.get("TEST_REQUIRE_SERVERS"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped where everything is required."""
    report = yield
    _fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that is skipped as a whole where everything is required."""
    report = yield
    _fail_skipped(report)
    return report


def _fail_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and all_required():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}: with TEST_REQUIRE_SERVERS nothing may be skipped"
