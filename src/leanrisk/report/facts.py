"""Reading result.json and evidence.json: what is absent reads as None, what is malformed is refused by its path."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leanrisk.core.errors import ConfigError


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % limits where they were measured."""

    value: float
    lo: float | None = None
    hi: float | None = None


class Facts:
    """A view into a JSON document that tells "not measured" (None) from "wrong" (`ConfigError` naming the path)."""

    def __init__(self, document: Mapping[str, Any], *, where: str) -> None:
        self._document = document
        self.where = where

    @classmethod
    def read(cls, file: Path) -> Facts:
        """Return the document in a JSON file; raises `ConfigError` where it is missing or broken."""
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"A report needs a finished run: '{file}' cannot be read ({error}). Give the folder of a run."
            ) from error
        except json.JSONDecodeError as error:
            raise ConfigError(f"A run's files must be valid JSON: '{file}' is not ({error}). Run it again.") from error
        if not isinstance(document, dict):
            raise ConfigError(f"A run's files must hold a JSON object: '{file}' does not. Run it again.")
        return cls(document, where=file.name)

    def __bool__(self) -> bool:
        return bool(self._document)

    def names(self) -> list[str]:
        """Return the names at this level, in file order."""
        return list(self._document)

    def at(self, *path: str) -> Any:
        """Return the raw value under `path`, or None where any part of the path is absent or null."""
        value: Any = self._document
        for place, key in enumerate(path):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise self._wrong(path[:place], "an object", value)
            value = value.get(key)
        return value

    def number(self, *path: str) -> float | None:
        """Return a finite number, or None where it was not measured."""
        value = self.at(*path)
        return None if value is None else self._number(value, path)

    def text(self, *path: str) -> str | None:
        """Return a text (other scalars as text), or None."""
        value = self.at(*path)
        if isinstance(value, Mapping | list):
            raise self._wrong(path, "a text", value)
        return None if value is None or value == "" else str(value)

    def numbers(self, *path: str) -> list[float]:
        """Return a list of numbers, empty where there is none."""
        return [self._number(value, path) for value in self._list(path)]

    def group(self, *path: str) -> Facts:
        """Return the object under `path`, an empty one where there is none."""
        value = self.at(*path)
        if not isinstance(value, Mapping | None):
            raise self._wrong(path, "an object", value)
        return Facts(value or {}, where=self._name(path))

    def columns(self, *names: str) -> list[list[float]]:
        """Return lists of numbers that belong together; raises `ConfigError` where their lengths differ."""
        found = [self.numbers(name) for name in names]
        if len({len(values) for values in found}) > 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in zip(names, found, strict=True))
            raise ConfigError(f"{self.where}: lists of one curve must be equally long: they are not ({lengths}).")
        return found

    def items(self, *path: str) -> list[Facts]:
        """Return a list of objects, empty where there is none."""
        found = []
        for place, value in enumerate(self._list(path)):
            if not isinstance(value, Mapping):
                raise self._wrong(path, "a list of objects", value)
            found.append(Facts(value, where=f"{self._name(path)}[{place}]"))
        return found

    def texts(self, *path: str) -> list[str]:
        """Return a list of texts, empty where there is none."""
        return [str(value) for value in self._list(path)]

    def estimate(self, *path: str) -> Estimate | None:
        """Return a figure with its interval; a bare number has none."""
        value = self.at(*path)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return Estimate(self._number(value, path))
        middle = self.number(*path, "value")
        return None if middle is None else Estimate(middle, self.number(*path, "lo"), self.number(*path, "hi"))

    def _list(self, path: tuple[str, ...]) -> list[Any]:
        value = self.at(*path)
        if not isinstance(value, list | None):
            raise self._wrong(path, "a list", value)
        return value or []

    def _number(self, value: Any, path: tuple[str, ...]) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(path, "a finite number", value)
        return float(value)

    def _name(self, path: tuple[str, ...]) -> str:
        return ".".join((self.where, *path))

    def _wrong(self, path: tuple[str, ...], kind: str, value: Any) -> ConfigError:
        shown = repr(value)
        return ConfigError(f"{self._name(path)} must be {kind}: it is {shown[:80]}. Run it again or mend the file.")
