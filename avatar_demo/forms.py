"""Pages that consist of one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avatar_demo.visit import Visit


class Field(NamedTuple):
    """One input of a form.

    Args:
        name: the name of the value.
        label: the label for the user.
        type: the type of the input element.
        hint: the ``autocomplete`` attribute.
    """

    name: str
    label: str
    type: str = "text"
    hint: str = "off"


class Form(NamedTuple):
    """A page with a form.

    Args:
        title: the title of the page.
        button: the text of the submit button.
        fields: the inputs.
        note: the sentence above the inputs.
        template: the template of the page.
    """

    title: str
    button: str
    fields: tuple[Field, ...] = ()
    note: str = ""
    template: str = "form.html"

    def page(self, visit: Visit, *errors: str, values: Mapping[str, str] | None = None) -> Any:
        """Return the page, with errors and with the values of the last submission."""
        return visit.page(self.template, self.title, form=self, errors=errors, values=values or {})
