"""What each column of a table is, as a frozen value that reads from and writes to TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from leanrisk.core.config import configured, read_toml
from leanrisk.core.constraints import Constraints
from leanrisk.core.errors import SchemaError
from leanrisk.core.memory import PREFIX, Memory
from leanrisk.core.text_fields import is_text_field

Scalar = str | int | float | bool


class Kind(StrEnum):
    """How the values of a column are read."""

    NUMERIC = "numeric"
    CATEGORY = "category"
    DATE = "date"
    TEXT = "text"
    IMAGE = "image"


class Role(StrEnum):
    """What a column is for. Only `feature` columns ever reach a model.

    A `memory` column is computed for each row (a fact that the schema's memory knows, a number read from a text): a
    feature once a technique takes it in.
    """

    FEATURE = "feature"
    TARGET = "target"
    ID = "id"
    TIME = "time"
    OUTCOME_TIME = "outcome_time"
    GROUP = "group"
    PROTECTED = "protected"
    EXPOST = "expost"
    SCORE = "score"
    MEMORY = "memory"
    IGNORED = "ignored"


_SINGLE_ROLES = (Role.TARGET, Role.ID, Role.TIME, Role.OUTCOME_TIME, Role.GROUP, Role.SCORE)

_LISTED = ("entities", "links", "edges", "ranges", "sums", "orders")
"""Keys of a memory or of constraints that hold a list of tables."""

_AFTERWARDS = (Role.TARGET, Role.OUTCOME_TIME, Role.EXPOST, Role.SCORE)


@dataclass(frozen=True)
class Column:
    """One column: its name, kind and role; the codes that mean "no value"; and what a look-up costs.

    `entity` names the graph node that the value identifies (a bank, an industry). `price` is in the rate card's
    currency per look-up, `latency_ms` in milliseconds; columns with the same `lookup` are bought by one call and paid
    once.
    """

    name: str
    kind: Kind
    role: Role = Role.FEATURE
    entity: str | None = None
    missing_codes: tuple[Scalar, ...] = ()
    price: float = 0.0
    latency_ms: float = 0.0
    lookup: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise SchemaError("A column must have a name: one is empty. Name it or leave it out.")
        if self.price < 0 or self.latency_ms < 0:
            raise SchemaError(f"column '{self.name}': price and latency_ms must not be negative. Correct them.")


@dataclass(frozen=True)
class Schema:
    """The columns of a table and what counts as bad; iteration order is column order.

    `positive` lists the target values that mean "bad", `negative` those that mean "good"; an empty `negative` means
    every other value. Rows whose target is in neither list are unlabelled. `memory` says which entities are remembered;
    it needs a decision time. `constraints` say what generated rows keep to.
    """

    columns: tuple[Column, ...]
    positive: tuple[Scalar, ...] = (1,)
    negative: tuple[Scalar, ...] = ()
    name: str = ""
    description: str = ""
    memory: Memory | None = None
    constraints: Constraints | None = None
    by_name: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seen: dict[str, Column] = {}
        for column in self.columns:
            if column.name in seen:
                raise SchemaError(f"Column names must be unique: '{column.name}' stands twice. Remove one of them.")
            seen[column.name] = column
        for role in _SINGLE_ROLES:
            holders = [column.name for column in self.columns if column.role is role]
            if len(holders) > 1:
                raise SchemaError(f"A schema has at most one column of role '{role}': {', '.join(holders)}. Keep one.")
        object.__setattr__(self, "by_name", seen)
        if self.memory is not None:
            self._check_memory(self.memory)
        lost = [] if self.constraints is None else [name for name in self.constraints.columns if name not in self]
        if lost:
            raise SchemaError(f"Constraints name columns of their table: '{lost[0]}' is none. Correct [constraints].")

    def _check_memory(self, memory: Memory) -> None:
        named = [*memory.columns, *filter(None, (memory.amount, memory.known))]
        lost = [name for name in named if name not in self]
        if lost:
            raise SchemaError(f"A memory reads columns of its table: '{lost[0]}' is none. Correct [memory].")
        told = [name for name in filter(None, (*memory.columns, memory.amount)) if self[name].role in _AFTERWARDS]
        if told:
            raise SchemaError(
                f"A memory names entities and amounts by what is known at the decision: '{told[0]}' has the role "
                f"'{self[told[0]].role}'. Take it out of [memory]; 'known' alone may be later."
            )
        if self.time is None:
            raise SchemaError(
                "A memory answers as of the decision time: no column has the role 'time'. Give one that role, or "
                "remove [memory]."
            )

    def __getitem__(self, name: str) -> Column:
        try:
            return self.by_name[name]
        except KeyError:
            raise SchemaError(f"The schema has no column '{name}'. Its columns: {', '.join(self.by_name)}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def single(self, role: Role) -> str | None:
        """Return the name of the one column with `role`, or None."""
        return next((column.name for column in self.columns if column.role is role), None)

    @property
    def target(self) -> str | None:
        """The name of the target column, or None for a table without outcomes."""
        return self.single(Role.TARGET)

    @property
    def time(self) -> str | None:
        """The name of the decision-time column, or None."""
        return self.single(Role.TIME)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of every column a model may see, in column order."""
        return tuple(column.name for column in self.columns if column.role is Role.FEATURE)

    def features_of(self, *kinds: Kind) -> tuple[str, ...]:
        """Names of the feature columns of these kinds, in column order."""
        return tuple(column.name for column in self.columns if column.role is Role.FEATURE and column.kind in kinds)

    def keeping(self, features: Iterable[str]) -> Schema:
        """Return the schema with these features alone: others are `ignored`, and what is computed is `memory`."""
        kept = set(features)
        for name in kept:
            self[name]

        def seen(column: Column) -> Column:
            if column.role not in (Role.FEATURE, Role.MEMORY):
                return column
            if column.name in kept:
                return replace(column, role=Role.FEATURE)
            return replace(column, role=Role.MEMORY if is_computed(column.name) else Role.IGNORED)

        return replace(self, columns=tuple(seen(column) for column in self.columns))

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the columns that the memory computes, whether a model sees them or not, in column order."""
        return tuple(column.name for column in self.columns if is_fact(column.name))

    @property
    def raw(self) -> Schema:
        """The schema of the table as it comes, without the columns that are computed."""
        return replace(self, columns=tuple(column for column in self.columns if not is_computed(column.name)))

    @property
    def forgetful(self) -> Schema:
        """The schema without its memory and the columns that the memory computes."""
        kept = tuple(column for column in self.columns if not is_fact(column.name))
        return replace(self, columns=kept, memory=None)

    def with_column(self, column: Column) -> Schema:
        """Return the schema with `column` in place of the one of that name, or appended."""
        if column.name not in self:
            return replace(self, columns=(*self.columns, column))
        return replace(self, columns=tuple(column if old.name == column.name else old for old in self.columns))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "schema") -> Schema:
        """Return the schema written as a plain mapping: table-level keys and a `columns` list of tables."""
        plain = dict(values)
        for key in ("positive", "negative"):
            if key in plain and not isinstance(plain[key], list | tuple):
                plain[key] = [plain[key]]
        known = {entry.name for entry in fields(cls) if entry.init}
        unknown = sorted(set(plain) - known)
        if unknown:
            raise SchemaError(f"{where} knows only the keys {', '.join(sorted(known))}: '{unknown[0]}' is unknown.")
        return configured(cls, plain, where=where)

    @classmethod
    def read(cls, path: Path | str) -> Schema:
        """Return the schema in a TOML file; raises `ConfigError` or `SchemaError`."""
        return cls.from_dict(read_toml(path), where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as a plain mapping (defaults left out) that `from_dict` reads back to an equal schema."""
        return {
            **{key: getattr(self, key) for key in ("name", "description") if getattr(self, key)},
            "positive": list(self.positive),
            **({"negative": list(self.negative)} if self.negative else {}),
            "columns": [_plain(column) for column in self.columns],
            **({} if self.memory is None else {"memory": self.memory.to_dict()}),
            **({} if self.constraints is None else {"constraints": self.constraints.to_dict()}),
        }

    def to_toml(self) -> str:
        """Return the schema as TOML text, one inline table per column so that a person can edit it line by line."""
        plain = self.to_dict()
        columns = plain.pop("columns")
        sections = {name: plain.pop(name) for name in ("memory", "constraints") if name in plain}
        lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
        lines += _toml_rows("columns", columns)
        for name, section in sections.items():
            lines += ["", f"[{name}]"]
            for key, value in section.items():
                lines += _toml_rows(key, value) if key in _LISTED else [f"{key} = {_toml(value)}"]
        return "\n".join([*lines, ""])


def is_fact(name: str) -> bool:
    """Return whether a column of this name is computed by a memory and not read from a table."""
    return name.startswith(PREFIX)


def is_computed(name: str) -> bool:
    """Return whether a column of this name is computed, by a memory or by a text model, and not read from a table."""
    return is_fact(name) or is_text_field(name)


def _toml_rows(key: str, rows: list[dict[str, Any]]) -> list[str]:
    return [f"{key} = [", *(f"  {_toml(row)}," for row in rows), "]"]


def _plain(column: Column) -> dict[str, Any]:
    values: dict[str, Any] = {"name": column.name, "kind": column.kind.value, "role": column.role.value}
    for entry in fields(Column)[3:]:
        value = getattr(column, entry.name)
        if value != entry.default:
            values[entry.name] = list(value) if isinstance(value, tuple) else value
    return values


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's string escapes are a subset of TOML's basic strings, but for DEL, which JSON leaves bare.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return repr(value)
