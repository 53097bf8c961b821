"""What a test needs of the machine, and that nothing is skipped where everything is required."""

from __future__ import annotations

import os

import pytest

from tests.support.paths import REPOSITORY

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("required", ["", "1"])
def test_a_skip_fails_where_everything_is_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    """With TEST_REQUIRE_SERVERS a skipped test, parameter or module is a failure."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(REPOSITORY))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take long to import
    monkeypatch.setenv("TEST_REQUIRE_SERVERS", required)
    pytester.makepyfile(
        test_skips="""
        import pytest
        from tests.support.requirements import require, unavailable

        def test_unavailable():
            unavailable("nothing here")

        def test_module():
            require("no_such_module")

        @pytest.mark.skipif(True, reason="by a marker")
        def test_marker():
            pass

        def test_by_hand():
            pytest.skip("by hand")
        """,
        test_module="import pytest; pytest.importorskip('no_such_module')",
    )
    result = pytester.runpytest_subprocess(
        "-p", "tests.support.requirements", "--continue-on-collection-errors"
    )
    if required:
        result.assert_outcomes(failed=3, errors=2)  # a marker skips the set-up
    else:
        result.assert_outcomes(skipped=5)
