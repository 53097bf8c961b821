"""HTML pages: template files, and values that are escaped on their way into them."""

from __future__ import annotations

import html
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).with_name("templates")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def fill(template: str, /, **values: object) -> Markup:
    """A template with its values, each escaped unless it is ``Markup``."""
    return Markup(
        _template(template).substitute({key: escape(each) for key, each in values.items()})
    )


def join(parts: Iterable[Markup]) -> Markup:
    """Pieces of HTML one after another."""
    return Markup("\n".join(parts))


def escape(value: object) -> Markup:
    """A value as HTML text or attribute."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


@cache
def _template(name: str) -> Template:
    return Template((TEMPLATES / f"{name}.html").read_text(encoding="utf-8"))
