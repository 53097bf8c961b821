"""Pages that consist of one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avatar_demo.visit import Visit


class Field(NamedTuple):
    """One input of a form.

    Args:
        name: of its value.
        label: for the user.
        type: of the input element.
        hint: for browsers that fill in forms.
    """

    name: str
    label: str
    type: str = "text"
    hint: str = "off"


class Form(NamedTuple):
    """A page with a form.

    Args:
        title: of the page.
        button: text of the button that sends it.
        fields: the inputs.
        note: a sentence above them.
        template: of the page.
    """

    title: str
    button: str
    fields: tuple[Field, ...] = ()
    note: str = ""
    template: str = "form.html"

    def page(self, visit: Visit, *errors: str, values: Mapping[str, str] | None = None) -> Any:
        """The page, with the errors and the values that were sent before."""
        return visit.page(self.template, self.title, form=self, errors=errors, values=values or {})
