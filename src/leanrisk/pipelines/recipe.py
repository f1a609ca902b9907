"""The recipe: data, incumbent, an ordered list of techniques, gates and rates, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from leanrisk.core.config import configured, read_toml
from leanrisk.core.errors import ConfigError
from leanrisk.data.split import SplitConfig
from leanrisk.evaluate.gates import GateConfig
from leanrisk.models.gbdt_search import GbdtConfig
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.reteach import Reteach


@dataclass(frozen=True)
class SimulatedData:
    """The embedded default: a simulated book of this many rows.

    `book`: "sme" (loans, with as many `features`, and with `text` a sentence on the purpose of each), "card" (payments)
    or "aml" (transfers). `accounts` counts the
    customers of a card book or the accounts of an aml book, and `share` is the share of bads in either; 0 takes what
    the simulator takes by itself.
    """

    book: str = "sme"
    rows: int = 40_000
    features: int = 217
    accounts: int = 0
    share: float = 0.0
    text: bool = False

    def __post_init__(self) -> None:
        if self.book not in ("sme", "card", "aml"):
            raise ConfigError(
                f"data.book must be sme, card or aml: it is {self.book!r}. Choose one, or name a file with --data."
            )
        if self.accounts < 0 or self.share < 0.0:
            raise ConfigError("data.accounts and data.share must not be negative: 0 leaves them to the simulator.")
        if self.book == "sme" and (self.accounts or self.share):
            raise ConfigError("data.accounts and data.share are for the books card and aml. Leave them out for sme.")
        if self.book != "sme" and self.text:
            raise ConfigError(f"data.text is for the book sme: the book is {self.book!r}. Leave it out.")


@dataclass(frozen=True)
class IncumbentConfig:
    """The model to beat: trained here ("lightgbm", "scorecard"), a `path` to a model file, a `column` of scores.

    For a file, `columns` names the model's inputs in its own order where the file does not, and `output` the output of
    an ONNX graph. `higher_is` says whether a high score is a "worse" or a "better" applicant.
    """

    kind: str = "lightgbm"
    path: str | None = None
    column: str | None = None
    columns: tuple[str, ...] = ()
    output: str | None = None
    higher_is: str = "worse"
    gbdt: GbdtConfig = field(default_factory=GbdtConfig)

    def __post_init__(self) -> None:
        if self.kind not in ("lightgbm", "scorecard", "file", "scores"):
            raise ConfigError(
                f"incumbent.kind must be lightgbm, scorecard, file or scores: it is {self.kind!r}. Choose one of them."
            )
        if (self.kind == "file") != (self.path is not None):
            raise ConfigError("incumbent.path goes with incumbent.kind = 'file', and the other way round. Give both.")
        if (self.kind == "scores") != (self.column is not None):
            raise ConfigError("incumbent.column goes with incumbent.kind = 'scores', and vice versa. Give both.")
        if self.higher_is not in ("worse", "better"):
            raise ConfigError(f"incumbent.higher_is must be worse or better: it is {self.higher_is!r}. Choose one.")


@dataclass(frozen=True)
class TeacherConfig:
    """Who teaches beside the incumbent: `columns` of scores in the data, fitted to the outcomes.

    `higher_is` says whether a high score is a "worse" or a "better" applicant. Scores of rows that a model learned from
    flatter it: bring out-of-fold ones. No lean model reads these columns.

    Up to `unlabelled_rows` rows whose outcome nobody knows teach by the teachers' opinion alone: rows of the file
    `unlabelled`, or where none is named, those of the data.
    """

    columns: tuple[str, ...] = ()
    higher_is: str = "worse"
    unlabelled: str = ""
    unlabelled_rows: int = 0

    def __post_init__(self) -> None:
        if self.unlabelled_rows < 0 or (self.unlabelled and not self.unlabelled_rows):
            raise ConfigError(
                f"teacher.unlabelled_rows must be 0 or more, and 1 or more with a file: it is {self.unlabelled_rows}. "
                "Say how many rows may teach at most."
            )
        if self.higher_is not in ("worse", "better"):
            raise ConfigError(f"teacher.higher_is must be worse or better: it is {self.higher_is!r}. Choose one.")


@dataclass(frozen=True)
class Step:
    """One technique of the recipe; with `unless`, it is tried only where no step of that label was accepted."""

    technique: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    unless: str = ""

    def __post_init__(self) -> None:
        technique(self.technique, self.settings)
        if not self.label:
            object.__setattr__(self, "label", self.technique)


@dataclass(frozen=True)
class RefreshConfig:
    """The cheap round: the newest `slice` of the training rows, and how the champion is taught on it.

    A bundle keeps `keep` training rows, to be replayed and to tell drift from (0: none, and the next refresh of the
    bundle knows neither). A refresh of a bundle needs `min_rows` new rows. `text` says what becomes of its text models
    then: "keep" reads the new rows with them, "anew" teaches them again on new and kept rows.
    """

    slice: float = 0.2
    min_rows: int = 50
    keep: int = 10_000
    text: str = "keep"
    teach: Reteach = field(default_factory=Reteach)

    def __post_init__(self) -> None:
        if not 0 < self.slice < 1:
            raise ConfigError(f"refresh.slice must lie in (0, 1): it is {self.slice}. Choose for example 0.2.")
        if self.text not in ("keep", "anew"):
            raise ConfigError(f"refresh.text must be keep or anew: it is {self.text!r}. Choose one of them.")
        if self.keep < 0 or self.min_rows < 1:
            raise ConfigError("refresh.keep must not be negative, and refresh.min_rows at least 1. Raise them.")


@dataclass(frozen=True)
class MeasureConfig:
    """How carefully is measured: bootstrap `resamples`, latency `calls`, alert `budget` (share of rows).

    `amount` names the column whose sum over the bads is to be caught, `case` the one that numbers campaigns of bads;
    they may be columns that no model sees. Either brings precision at the budget along.
    """

    resamples: int = 1000
    calls: int = 2000
    budget: float = 0.05
    amount: str = ""
    case: str = ""

    def __post_init__(self) -> None:
        if self.resamples < 100 or self.calls < 100:
            raise ConfigError("measure.resamples and measure.calls must be at least 100. Raise them.")
        if not 0 < self.budget < 1:
            raise ConfigError(f"measure.budget must lie in (0, 1): it is {self.budget}. Choose for example 0.05.")


@dataclass(frozen=True)
class Recipe:
    """What `shrink` and `refresh` do, in order; unknown keys are refused wherever they stand."""

    name: str
    title: str = ""
    steps: tuple[Step, ...] = field(default_factory=lambda: (Step("distill"),))
    data: SimulatedData | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    incumbent: IncumbentConfig = field(default_factory=IncumbentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    gates: GateConfig = field(default_factory=GateConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    refresh: RefreshConfig = field(default_factory=RefreshConfig)
    rates: str | None = None
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = [step.label for step in self.steps]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"Steps need labels of their own: {', '.join(labels)} repeats one. Set 'label'.")
        readers = [step.label for step in self.steps if step.technique == "text"]
        if len(readers) > 1:
            raise ConfigError(
                f"A recipe has one step 'text': {', '.join(readers)} are several. Name all columns in one."
            )
        for place, step in enumerate(self.steps):
            if step.unless and step.unless not in labels[:place]:
                raise ConfigError(
                    f"step '{step.label}': unless = '{step.unless}' must be the label of an earlier step. Correct it."
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, preset: str = "standard", changes: Sequence[str] = ()) -> Recipe:
        """Return the recipe in a plain mapping, with its [presets.NAME] table laid over it, then `changes`.

        A change is "key.key=value" with the value written as in TOML. Raises `ConfigError` for anything unknown.
        """
        return configured(cls, preset_of(values, preset=preset, changes=changes), where="recipe")

    @classmethod
    def read(cls, path: Path | str, *, preset: str = "standard", changes: Sequence[str] = ()) -> Recipe:
        """Return the recipe in a TOML file (see `from_dict`)."""
        return cls.from_dict(read_toml(path), preset=preset, changes=changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values, for the manifest and for telling two recipes apart."""
        return asdict(self)


def preset_of(values: Mapping[str, Any], *, preset: str, changes: Sequence[str]) -> dict[str, Any]:
    """Return a recipe's plain mapping with its [presets.NAME] table laid over it, then `changes`, "key.key=value"."""
    plain = dict(values)
    presets = plain.pop("presets", {})
    if preset not in ("standard", *presets):
        known = ", ".join(sorted({"standard", *presets}))
        raise ConfigError(f"A preset must be one of {known}: it is {preset!r}. Choose one of them.")
    plain = _laid_over(plain, presets.get(preset, {}))
    for change in changes:
        plain = _laid_over(plain, _as_mapping(change))
    return plain


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _laid_over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _as_mapping(change: str) -> dict[str, Any]:
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"--set takes key=value, as in gates.auc_margin=-0.01: it is {change!r}. Correct it.")
    value = _toml_value(text.strip())
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _toml_value(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
