"""The schemas and scenarios that come with the package, by name and by the columns of a table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from leanrisk.core.config import read_toml
from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Schema

_LEAST_SHARE = 0.5
"""A table most of whose columns a schema does not know is another table, whatever names they share."""


def schema_names() -> tuple[str, ...]:
    """Return the names of the schemas that ship with the package, in alphabetical order."""
    return _names(_schemas())


def load_schema(name: str) -> Schema:
    """Return the shipped schema `name`; raises `ConfigError` that lists the names there are."""
    return Schema.from_dict(_content(_schemas(), name, "schema", schema_names()), where=f"schemas/{name}.toml")


def match_schema(columns: Iterable[str]) -> Schema | None:
    """Return the shipped schema whose columns are all among `columns`, or None; of several, the one with most columns.

    A schema that covers less than half of `columns` does not match: a few common names do not make a known table.
    """
    present = set(columns)
    fitting = [
        schema
        for schema in _shipped()
        if set(schema.by_name) <= present and len(schema.columns) >= _LEAST_SHARE * len(present)
    ]
    return max(fitting, key=lambda schema: len(schema.columns), default=None)


def scenario_names() -> tuple[str, ...]:
    """Return the names of the scenarios that ship with the package, in alphabetical order."""
    return _names(files("leanrisk.scenarios"))


def load_scenario(name: str) -> dict[str, Any]:
    """Return the content of the scenario `name`; raises `ConfigError` that lists the names there are."""
    return _content(files("leanrisk.scenarios"), name, "scenario", scenario_names())


def is_market(scenario: str) -> bool:
    """Return whether a shipped scenario, or a recipe in a TOML file, says `pipeline = "market"`."""
    if scenario.endswith(".toml"):
        return bool(read_toml(scenario).get("pipeline") == "market")
    return bool(load_scenario(scenario).get("pipeline") == "market")


@cache
def _shipped() -> tuple[Schema, ...]:
    return tuple(load_schema(name) for name in schema_names())


def _schemas() -> Traversable:
    return files("leanrisk.scenarios").joinpath("schemas")


def _names(folder: Traversable) -> tuple[str, ...]:
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def _content(folder: Traversable, name: str, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if name not in names:
        listed = ", ".join(names) or "none"
        raise ConfigError(f"A {what} must be one that ships with LeanRisk: '{name}' does not. There are: {listed}.")
    return tomllib.loads(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"))
