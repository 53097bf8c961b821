"""How probes get between a library and its caller."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest

from avatar_telemetry.probes.patching import Versions, surround, surround_bound, when_imported


def doubling(original):
    def call(*args, **kwargs):
        return 2 * original(*args, **kwargs)

    return call


class Library:
    """A class as a library has one."""

    def method(self, number: int) -> int:
        """Documented."""
        return number

    @staticmethod
    def static(number: int) -> int:
        return number

    @classmethod
    def of_class(cls, number: int) -> int:
        return number


@pytest.mark.parametrize("name", ["method", "static", "of_class"])
def test_methods_of_all_kinds(name: str) -> None:
    """A method, a static one and one of the class are surrounded, once."""
    owner = type("Copy", (), dict(vars(Library)))
    for _ in range(2):
        surround(owner, name, doubling)
    assert getattr(owner(), name)(4) == 8
    assert inspect.signature(owner.method) == inspect.signature(Library.method)
    assert owner.method.__doc__ == "Documented."


def test_a_class_is_surrounded_where_it_is_made() -> None:
    """A class that is a generator itself stays a class."""
    made = []

    class Avatar:
        def __init__(self, word: str) -> None:
            self.word = word

    def around(original):
        def call(self, *args):
            original(self, *args)
            made.append(self.word)

        return call

    owner = type(sys)("module")
    owner.Avatar = Avatar  # type: ignore[attr-defined]
    surround(owner, "Avatar", around)
    assert isinstance(owner.Avatar("x"), Avatar)
    assert made == ["x"]


@pytest.mark.parametrize("imported_before", [True, False])
def test_when_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported_before) -> None:
    """A module is patched whether it was imported before the probe or is after it."""
    name = f"a_library_{imported_before}"
    (tmp_path / f"{name}.py").write_text("def function():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    if imported_before:
        __import__(name)
    when_imported(name, lambda module: surround(module, "function", doubling))
    assert __import__(name).function() == 2


def test_an_unexpected_library_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A library of another shape costs one log record; importing it goes on."""
    with caplog.at_level(logging.WARNING):
        when_imported("json.tool", lambda module: surround(module, "nothing.here", doubling))
        import json.tool  # noqa: F401
    assert "no probe for json.tool" in caplog.text


def library_and_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """A library, and a module that imports its names under others."""
    (tmp_path / f"{name}.py").write_text(
        "def draw():\n    return 1\n\n\ndef other():\n    return 1\n"
    )
    (tmp_path / f"{name}_user.py").write_text(
        f"from {name} import draw as paint, other\n\nTABLE = [paint]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return __import__(name), __import__(f"{name}_user")


def test_a_name_that_was_imported_before(tmp_path: Path, monkeypatch) -> None:
    """Who imported a function by name before the probe calls the surrounded one, and only that."""
    library, user = library_and_user(tmp_path, monkeypatch, "a_bound_library")
    for _ in range(2):
        surround_bound(library, "draw", doubling)
    assert (library.draw(), user.paint(), user.other()) == (2, 2, 1)


def test_lazy_and_odd_modules_are_left_alone(tmp_path: Path, monkeypatch) -> None:
    """The search for names loads no lazy module, and passes by what is no module."""
    library, user = library_and_user(tmp_path, monkeypatch, "a_library_of_lazy_people")
    spec = importlib.util.find_spec("this")
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lazy)
    monkeypatch.setitem(sys.modules, "this", lazy)
    monkeypatch.setitem(sys.modules, "no_module", object())
    surround_bound(library, "draw", doubling)
    assert user.paint() == 2
    assert type(lazy) is not ModuleType, "it was loaded"


def test_a_name_that_is_not_there(tmp_path: Path, monkeypatch) -> None:
    """A library of another shape is told apart."""
    library, _ = library_and_user(tmp_path, monkeypatch, "a_changed_library")
    with pytest.raises(AttributeError):
        surround_bound(library, "paint", doubling)


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("1.4", True),
        ("2.1.9 (dt)", True),
        ("1.3.9", False),
        ("2.2", False),
        ("", False),
        ("x", False),
    ],
)
def test_versions(version: str, supported: bool) -> None:
    """A version is among those supported or not, by major and minor."""
    assert Versions((1, 4), (2, 2)).include(version) is supported


def test_an_unsupported_version_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One log line, and no patch."""
    library = ModuleType("a_library_of_tomorrow")
    library.__version__ = "9.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, library.__name__, library)
    patched: list[ModuleType] = []
    with caplog.at_level(logging.WARNING):
        when_imported(library.__name__, patched.append, Versions((1, 0), (2, 0)))
    assert patched == []
    assert [record.getMessage() for record in caplog.records] == [
        "no probe for a_library_of_tomorrow: version '9.0' is not supported"
    ]
