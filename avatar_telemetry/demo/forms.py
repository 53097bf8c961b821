"""Forms: what they ask for, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from avatar_telemetry.demo.pages import Markup, fill, join
from avatar_telemetry.demo.visit import Visit


@dataclass(frozen=True)
class Field:
    """One input of a form.

    Args:
        name: under which it is sent.
        label: beside it.
        type: of the input element.
        hint: for browsers that fill in forms.
    """

    name: str
    label: str
    type: str = "text"
    hint: str = "off"


@dataclass(frozen=True)
class Form:
    """A page that asks for something.

    Args:
        title: of the page.
        button: what sends it.
        fields: the inputs.
        note: a sentence above them.
    """

    title: str
    button: str
    fields: tuple[Field, ...] = ()
    note: str = ""

    def page(
        self,
        visit: Visit,
        errors: Iterable[str] = (),
        extra: Markup | str = "",
        values: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> Any:
        """The page, with what was wrong and what was typed before."""
        return visit.page(
            "form",
            self.title,
            status=status,
            heading=self.title,
            note=self.note,
            errors=join(fill("error_line", text=error) for error in errors),
            fields=join(self._draw(field, values or {}) for field in self.fields),
            button=self.button,
            extra=extra,
        )

    @staticmethod
    def _draw(field: Field, values: Mapping[str, str]) -> Markup:
        template = "checkbox" if field.type == "checkbox" else "field"
        value = "" if field.type == "password" else values.get(field.name, "")
        return fill(
            template,
            name=field.name,
            label=field.label,
            type=field.type,
            hint=field.hint,
            value=value,
        )
