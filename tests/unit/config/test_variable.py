"""The text of a variable, of its alias, or the default."""

from __future__ import annotations

import pytest

from avatar_telemetry.config.variable import Setting, raw_text


@pytest.mark.parametrize(
    ("environ", "empty", "text"),
    [
        pytest.param({}, False, "default", id="unset"),
        pytest.param({"NEW": "a", "OLD": "b"}, False, "a", id="both"),
        pytest.param({"OLD": "b"}, False, "b", id="alias"),
        pytest.param({"NEW": "", "OLD": "b"}, False, "b", id="empty, alias"),
        pytest.param({"NEW": "", "OLD": ""}, False, "default", id="both empty"),
        pytest.param({"NEW": "", "OLD": "b"}, True, "", id="empty is a value"),
        pytest.param({"OLD": ""}, True, "", id="empty alias is a value"),
        pytest.param({"NEW": " "}, False, " ", id="a space is a text"),
    ],
)
def test_text(environ: dict[str, str], empty: bool, text: str) -> None:
    """An empty text counts as unset, except where it is a value of its own."""
    setting = Setting("NEW", str, "default", "", "", alias="OLD", empty=empty)
    assert raw_text(environ, setting) == text


def test_without_an_alias() -> None:
    """A variable without an alias reads none, also not the variable without a name."""
    assert raw_text({"": "x"}, Setting("NEW", str, "default", "", "")) == "default"
