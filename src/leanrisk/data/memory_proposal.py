"""What a table's entities suggest to remember: a [memory] section for a person to edit."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from leanrisk.core.dataset import level_text
from leanrisk.core.errors import Fault
from leanrisk.core.memory import Entity, Link, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data import roles

_WAIT = 365.0
"""Days assumed until an outcome is known where the table does not say: too long loses facts, too short leaks."""
_AMOUNT = re.compile(r"amount|amt|sum|value|gross|limit", re.IGNORECASE)
_PREFIXES = {4: (2,), 5: (3,), 6: (4, 3, 2)}
"""Coarser levels of a code of so many digits: postal codes have three, industry codes four, three and two."""
_SAMPLE = 10_000


def proposed_memory(schema: Schema, frame: pl.DataFrame) -> Memory | None:
    """Return what the columns that are noted as entities suggest to remember; None without a time or an entity.

    Two columns of the same entity (from account, to account) become the ends of a link.
    """
    columns = [column for column in schema.columns if column.entity and column.name in frame.columns]
    if schema.time is None or not columns:
        return None
    known = schema.single(Role.OUTCOME_TIME)
    wait = 0.0 if known else _WAIT
    return Memory(
        entities=tuple(_entities(columns, frame)),
        links=tuple(_links(columns)),
        amount=next((name for name in schema.features_of(Kind.NUMERIC) if _AMOUNT.search(name)), ""),
        known=known or "",
        delay=wait,
        maturity=wait,
    )


def memory_remark(memory: Memory) -> Fault:
    """Return the note that says what was proposed, and what a person must check in it."""
    named = ", ".join([entity.name for entity in memory.entities] + [link.name for link in memory.links])
    when = (
        f"outcomes count as known at '{memory.known}'"
        if memory.known
        else f"nothing says when an outcome is known, so {memory.maturity:g} days are assumed"
    )
    return Fault(
        "memory-proposed",
        f"facts about {named} can be remembered; {when}.",
        "Edit [memory] in the schema: cross entities, set delay and maturity, remove what is not known in time.",
    )


def _entities(columns: list[Column], frame: pl.DataFrame) -> Iterator[Entity]:
    taken: set[str] = set()
    for column in columns:
        name = _free(re.sub(r"\W+", "_", str(column.entity)).strip("_") or "entity", column.name, taken)
        taken.add(name)
        entity = Entity(name, (column.name,), prefixes=_prefixes(frame[column.name]))
        taken.update(entity.levels)
        yield entity


def _free(name: str, column: str, taken: set[str]) -> str:
    if name in taken:
        name = re.sub(r"\W+", "_", column)
    name = name if name.isidentifier() else f"entity_{name}"
    while name in taken:
        name += "_"
    return name


def _prefixes(values: pl.Series) -> tuple[int, ...]:
    """Return the coarser levels of a column of codes of one length, all digits; none for keys and anything else."""
    if roles.has_id_name(values.name):
        return ()
    text = level_text(values.drop_nulls().head(_SAMPLE))
    digits = text.filter(text.str.contains(r"^\d+$"))
    if not text.len() or digits.len() < 0.9 * text.len():
        return ()
    lengths = digits.str.len_chars()
    most = int(str(lengths.mode().max()))
    return _PREFIXES.get(most, ()) if int((lengths == most).sum()) >= 0.8 * lengths.len() else ()


def _links(columns: list[Column]) -> Iterator[Link]:
    by_entity: dict[str, list[str]] = {}
    for column in columns:
        by_entity.setdefault(str(column.entity), []).append(column.name)
    for entity, names in by_entity.items():
        if len(names) == 2:
            name = re.sub(r"\W+", "_", f"{entity}_link")
            yield Link(name if name.isidentifier() else f"link_{name}", names[0], names[1])
