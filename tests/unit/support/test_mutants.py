"""The deliberate faults: each is in the code as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.faults import FAULTS, Fault
from tests.support.mutants import PACKAGE, Copy, FaultTextError, changed, main, relevant_tests
from tests.support.paths import REPOSITORY
from tests.support.waiting import DEADLINE


def test_each_fault_changes_the_code_as_it_is() -> None:
    """Its text stands in its module exactly once, the faulty module can be compiled, and there are
    tests for it."""
    for fault in FAULTS:
        original = (REPOSITORY / PACKAGE / fault.module).read_text(encoding="utf-8")
        faulty = changed(fault, original)
        assert faulty != original, fault.name
        compile(faulty, fault.name, "exec")
        assert relevant_tests(fault), fault.name


def test_faults_have_names_of_their_own() -> None:
    """A fault is asked for by its name."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.parametrize("text", ["", "a b a"])
def test_a_text_that_does_not_stand_once_is_an_error(text: str) -> None:
    """Code that has moved on is named, not silently passed over."""
    with pytest.raises(FaultTextError, match=r"moved: its text occurs \d times in m\.py"):
        changed(Fault("moved", "m.py", "nothing", "a", "c"), text)


def test_a_name_that_is_none_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault that was renamed is not passed over."""
    assert main(["no-such-fault"]) == 2
    assert capsys.readouterr().out == "unknown: no-such-fault\n"


def test_a_fault_without_tests_is_an_error() -> None:
    """A fault that nothing could notice would lower the share in silence."""
    fault = Fault("lost", "store/nowhere.py", "nothing", "a", "b")
    with pytest.raises(FileNotFoundError, match="lost"):
        relevant_tests(fault)


@pytest.mark.parametrize(
    ("value", "timeout", "outcome"),
    [
        pytest.param("1", DEADLINE, "MISSED", id="missed"),
        pytest.param("2", DEADLINE, "noticed", id="noticed"),
        pytest.param("3", 0.2, "HANGS", id="hang"),
    ],
)
def test_a_hang_is_not_a_failure(tmp_path: Path, value: str, timeout: float, outcome: str) -> None:
    """A fault with which the tests do not end is told from one that a test notices."""
    module, test = tmp_path / PACKAGE / "_base/log.py", tmp_path / "tests/unit/_base/test_log.py"
    for path in (module, test):
        path.parent.mkdir(parents=True)
    # An installed package would come before a namespace.
    for folder in (tmp_path / PACKAGE, module.parent):
        (folder / "__init__.py").touch()
    module.write_text("value = 0")
    test.write_text(
        f"import threading\nfrom {PACKAGE}._base.log import value\ndef test() -> None:\n"
        "    threading.Event().wait() if value == 3 else None\n    assert value != 2\n"
    )
    fault = Fault("name", "_base/log.py", "nothing", "value = 0", f"value = {value}")
    assert Copy(tmp_path).outcome(fault, timeout) == outcome
    assert module.read_text() == "value = 0"
