"""The site: it has every page, it builds, and it asks nothing of anybody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import DOCS, REPOSITORY
from tests.support.site import built_site

CONFIGURATION = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))


def entries(part: Any) -> Iterator[str]:
    """The pages of a navigation, in its order."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for each in part.values():
            yield from entries(each)
    else:
        for each in part:
            yield from entries(each)


def test_every_page_is_in_the_navigation() -> None:
    """No page of ``docs`` is left out, and none is offered twice or is not there."""
    offered = list(entries(CONFIGURATION["nav"]))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert len(offered) == len(set(offered))
    assert set(offered) == there


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly."""
    return built_site(tmp_path_factory.mktemp("site"))


def test_the_site_is_built(site: Path) -> None:
    """Each page and each picture is in it."""
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    for page in pages:
        whole = site / page.parent if page.name == "index" else site / page
        assert (whole / "index.html").is_file(), page
    assert {path.name for path in (DOCS / "pictures").iterdir()} == {
        path.name for path in (site / "pictures").iterdir()
    }


def test_a_reader_fetches_nothing_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture of a page has another host's address."""
    fetched = re.compile(r'<(?:script|img|link)\b[^>]*(?:src|href)="((?:https?:)?//[^"]*)"')
    for page in site.rglob("*.html"):
        found = [url for url in fetched.findall(page.read_text(encoding="utf-8"))]
        assert [url for url in found if "canonical" not in url] == [], page


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=lambda each: each.name)
def test_a_picture_is_whole(picture: Path) -> None:
    """No picture needs a font, a style or a picture of another host."""
    text = picture.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
    assert re.findall(r"(?:href=|src=|url\()\W*https?://", text) == []
