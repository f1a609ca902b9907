"""Names of the numbers that a text model gives for the columns of a table: one for each column of texts."""

from __future__ import annotations

PREFIX = "text:"
"""First letters of every such number's name, so that none is taken for a column of the table."""


def text_field_of(column: str) -> str:
    """Return the name of the number that is read from a column of texts."""
    return f"{PREFIX}{column}"


def text_column_of(field: str) -> str:
    """Return the column of texts that a number of this name is read from."""
    return field.removeprefix(PREFIX)


def is_text_field(name: str) -> bool:
    """Return whether a number of this name is read from a text."""
    return name.startswith(PREFIX)
