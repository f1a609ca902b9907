"""Frozen settings read from plain mappings: unknown keys, wrong types and wrong values are refused by name."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from leanrisk.core.errors import ConfigError

T = TypeVar("T")


def read_toml(path: Path | str) -> dict[str, Any]:
    """Return the content of a TOML file; raises `ConfigError` where it is missing or does not parse."""
    file = Path(path)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"A settings file must be readable: '{file}' is not ({error}). Check the path.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"A settings file must be valid TOML: '{file}' is not ({error}). Mend that line.") from error


def configured(cls: type[T], values: Mapping[str, Any], *, where: str, over: T | None = None) -> T:
    """Return an instance of the frozen dataclass `cls` built from `values`.

    What `values` leaves out is as in `over`, or at its default. A table that gives some keys of a nested dataclass
    leaves the others at what the field's own default has, which may differ from the class's. Nested dataclasses,
    tuples and string enums are built from their plain TOML forms. An unknown key, a missing key or a value of the
    wrong type raises `ConfigError`, naming `where` (for example "recipe.gates").
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            f"{where} knows only the keys {', '.join(sorted(fields))}: '{unknown[0]}' is not one of them. "
            "Check the spelling or remove it."
        )
    built: dict[str, Any] = {} if over is None else {name: getattr(over, name) for name in fields}
    for name, value in values.items():
        usual = built.get(name, _default(fields[name]))
        built[name] = _converted(hints[name], value, f"{where}.{name}", usual)
    try:
        return cls(**built)
    except TypeError as error:
        missing = [
            name
            for name, field in fields.items()
            if name not in built
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]
        if not missing:
            raise
        raise ConfigError(f"{where} needs the key '{missing[0]}', which is missing. Add it.") from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _converted(hint: Any, value: Any, where: str, usual: Any = None) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _first_fit(typing.get_args(hint), value, where)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, where)
    if origin is dict or origin is Mapping or typing.get_origin(hint) is Mapping:
        return _mapping(hint, value, where)
    if hint is Any or hint is object:
        return value
    if origin is typing.Literal:
        return _chosen(typing.get_args(hint), value, where)
    if isinstance(hint, type):
        return _instance(hint, value, where, usual)
    raise ConfigError(f"{where} has a type that settings cannot hold: {hint}.")


def _chosen(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in choices:
        return value
    listed = ", ".join(str(choice) for choice in choices)
    raise ConfigError(f"{where} must be one of {listed}: it is {value!r}. Choose one of them.")


def _instance(hint: type, value: Any, where: str, usual: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return configured(hint, value, where=where, over=usual if isinstance(usual, hint) else None)
    elif issubclass(hint, StrEnum):
        if isinstance(value, str) and value in {member.value for member in hint}:
            return hint(value)
        choices = ", ".join(member.value for member in hint)
        raise ConfigError(f"{where} must be one of {choices}: it is {value!r}. Choose one of them.")
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif hint is type(None) and value is None:
        return None
    elif isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} must be of type {hint.__name__}: it is {value!r}. Correct the value.")


def _first_fit(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    failures: list[ConfigError] = []
    for choice in choices:
        try:
            return _converted(choice, value, where)
        except ConfigError as error:
            failures.append(error)
    raise failures[0]


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} must be a list: it is {value!r}. Write it in square brackets.")
    return tuple(_converted(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(value))


def _mapping(hint: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a table: it is {value!r}. Write it as [section] in the TOML file.")
    (_, item_hint) = typing.get_args(hint)
    return {str(key): _converted(item_hint, item, f"{where}.{key}") for key, item in value.items()}
