"""The texts of the report, one plain TOML file per language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from leanrisk.core.config import read_toml
from leanrisk.core.errors import ConfigError

_FOLDER = Path(__file__).with_name("languages")


class Words:
    """The catalogue of one language: `words("section.key", name=value)` gives the text with its blanks filled in."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = dict(texts)

    @classmethod
    def of(cls, language: str) -> Words:
        """Return the catalogue of a language code such as "en"; raises `ConfigError` for one that does not exist."""
        if language not in languages():
            raise ConfigError(
                f"A report comes in {', '.join(languages())}: '{language}' is not one of them. Choose one."
            )
        return cls(language, dict(_flat(read_toml(_FOLDER / f"{language}.toml"))))

    def __call__(self, key: str, /, **blanks: object) -> str:
        """Return the text under `key`; raises `KeyError` for a key or a blank that is not there."""
        return self._texts[key].format_map(blanks)

    def __contains__(self, key: object) -> bool:
        return key in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def named(self, group: str, value: str) -> str:
        """Return the text of a code such as a gate's verdict, or the code itself where the catalogue has none."""
        key = f"{group}.{value.replace(' ', '_').replace('-', '_')}"
        return self._texts.get(key, value)


def capitalised(text: str) -> str:
    """Return `text` with a capital first letter, the rest as it stands (AUC stays AUC)."""
    return text[:1].upper() + text[1:]


def languages() -> tuple[str, ...]:
    """Return the codes of the languages that have a catalogue."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", str(value)
