"""Every link of the documentation leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import anchors, links, pages, prose, slugified
from tests.support.paths import DOCS, REPOSITORY


def of_page(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", pages(), ids=of_page)
def test_links_lead_somewhere(page: Path) -> None:
    """What a page links to inside of the repository is there, with the heading that it names."""
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(path), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=of_page)
def test_the_site_is_whole(page: Path) -> None:
    """A page of the site links to nothing outside of it but by URL."""
    for link in links(page):
        if "://" not in link and not link.startswith("#"):
            assert (page.parent / link.partition("#")[0]).resolve().is_relative_to(DOCS), link


@pytest.mark.parametrize("page", pages(), ids=of_page)
def test_a_page_has_one_title(page: Path) -> None:
    """Its first line is its title, the only heading of the first order: the site's list of a
    page's headings ends at a second one."""
    lines = prose(page).splitlines()
    assert [number for number, line in enumerate(lines) if line.startswith("# ")] == [0]


@pytest.mark.parametrize("page", pages(), ids=of_page)
def test_link_texts_are_no_file_names(page: Path) -> None:
    """The text of a link to a page is a title, or words of the sentence."""
    assert re.findall(r"\[[\w./-]+\.md\]\(", prose(page)) == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        pytest.param("The runtime directory", "the-runtime-directory", id="words"),
        pytest.param("`ivatar_requests_total`", "ivatar_requests_total", id="code"),
        pytest.param("What leaves, per mode", "what-leaves-per-mode", id="comma"),
        pytest.param("1,000 hosts", "1000-hosts", id="number"),
        pytest.param("A [link](x.md) in it", "a-link-in-it", id="link"),
    ],
)
def test_anchors_are_made_as_the_site_makes_them(heading: str, anchor: str) -> None:
    """Headings become anchors by the rules of Python-Markdown."""
    assert slugified(heading) == anchor
