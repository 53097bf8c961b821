"""The page of privacy tells of every attribute that a span can have, and of none besides."""

from __future__ import annotations

import re

import pytest

from avatar_telemetry.config.settings import Privacy as Mode
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.http.semconv import REQUEST_NAMES, RESPONSE_NAMES
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.wsgi.endings import OPERATION_NAMES, SERVER_NAMES
from tests.support.documents import literals
from tests.support.paths import DOCS

PAGE = (DOCS / "privacy.md").read_text(encoding="utf-8")
ATTRIBUTE = (
    r"(?:http|url|net|server|client|network|user_agent|ivatar|file|exception|db|cache|image)"
)
SET = sorted(
    {*REQUEST_NAMES["both"], *RESPONSE_NAMES["both"], *SERVER_NAMES, *OPERATION_NAMES}
)  # fmt: skip


@pytest.mark.parametrize("name", SET)
def test_every_attribute_is_told_of(name: str) -> None:
    """Each attribute of the spans of a request stands on the page."""
    assert f"`{name}`" in PAGE


def test_no_attribute_is_made_up() -> None:
    """Each attribute on the page is one that the code names."""
    named = set(re.findall(rf"`({ATTRIBUTE}(?:\.[a-z_]+)+)`", PAGE))
    assert len(named) > 40
    assert named - literals() == set()


@pytest.mark.parametrize("mode", ["strict", "balanced", "off"])
def test_the_picture_of_the_modes(mode: Mode) -> None:
    """What the first table says of a mode is what the code makes of the same request."""
    section = PAGE.split("## One request in each mode")[1].split("\n## ")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    column = head.index(f"`{mode}`")
    privacy = Privacy(mode, b"k" * 16, PROFILE.query)
    told = {row[0]: row[column].strip("`") for row in rows}
    cases = {
        "from `192.0.2.77`": privacy.address("192.0.2.77"),
        "from `2001:db8:1:2::3`": privacy.address("2001:db8:1:2::3"),
        "`?s=80&d=https://example.org/me.png&utm=9`": privacy.query(
            "s=80&d=https://example.org/me.png&utm=9"
        ),
        "`User-Agent: Bot/1.0 (mail@example.com)`": privacy.text("Bot/1.0 (mail@example.com)"),
        "a file `holiday-anna.JPG`": privacy.file_name("holiday-anna.JPG"),
    }
    for case, value in cases.items():
        if told[case] == "unchanged":
            assert value in case
        else:
            assert told[case] == (value or "nothing")
