"""Classes that stand in for those that a driver has in C."""

from __future__ import annotations

from typing import Any

import pytest

from avatar_telemetry.probes.subclasses import observed_class


class Base:
    """A driver's class."""

    def execute(self) -> list[str]:
        return ["driver"]


class Ours(Base):
    def execute(self) -> list[str]:
        return ["probe", *super().execute()]


class Theirs(Base):
    """The application's own."""

    def execute(self) -> list[str]:
        return ["application", *super().execute()]


class Slotted(Base):
    __slots__ = ("one",)


class OursSlotted(Base):
    __slots__ = ("two",)


class Other:
    """Not of the driver."""


def factory(*args: Any) -> Theirs:
    return Theirs()


@pytest.mark.parametrize("given", [None, Base])
def test_default_class(given: Any) -> None:
    """Without a class of the application's own ours is made."""
    assert observed_class(given, Base, Ours) is Ours


def test_class_of_the_application() -> None:
    """The application's method runs first, and ends in ours right above the driver's."""
    made = observed_class(Theirs, Base, Ours)
    assert made().execute() == ["application", "probe", "driver"]
    assert isinstance(made(), Theirs)
    assert (made.__name__, made.__module__) == ("Theirs", __name__)


def test_a_class_is_made_once() -> None:
    """Each connection of an application gets the same class, and no class is built on another."""
    made = observed_class(Theirs, Base, Ours)
    assert observed_class(Theirs, Base, Ours) is made
    assert observed_class(made, Base, Ours) is made
    assert observed_class(Ours, Base, Ours) is Ours


@pytest.mark.parametrize("given", [Other, factory, "name"])
def test_what_is_no_class_of_the_driver(given: Any) -> None:
    """A factory function, or a class of something else, is left to the driver."""
    assert observed_class(given, Base, Ours) is given


def test_classes_that_cannot_be_combined() -> None:
    """An application whose class excludes ours works as without the probe."""

    class Layout(int):
        pass

    class Ours(int):
        __slots__ = ()

    class Sealing(type):
        def __new__(meta, name: str, bases: tuple[type, ...], names: dict[str, Any]) -> Any:
            if len(bases) > 1:
                raise TypeError("no second base")
            return super().__new__(meta, name, bases, names)

    class Sealed(int, metaclass=Sealing):
        pass

    assert observed_class(Sealed, int, Ours) is Sealed
    assert observed_class(Layout, int, Ours) is not Layout
