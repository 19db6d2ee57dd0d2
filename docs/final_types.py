"""Shows an attribute that is declared as `Final` by the class of its value."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, ExprCall, Extension


class FinalTypes(Extension):
    """An extension of Griffe, from which mkdocstrings reads the code."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Take the class that is called for the type that is declared."""
        if str(attr.annotation) == "Final" and isinstance(attr.value, ExprCall):
            attr.annotation = attr.value.function
