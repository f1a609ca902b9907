"""The two public sets of texts, split into texts that teach, texts held out, and texts to test on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.seeding import generator

_PUBLIC = Path(__file__).parents[3] / "shared" / "data"
_VALID, _TEST = 0.1, 0.2
_NARRATIVE = "Consumer complaint narrative"
_PRODUCTS = {
    "Credit reporting, credit repair services, or other personal consumer reports": "credit reporting",
    "Debt collection": "debt collection",
    "Mortgage": "mortgage",
    "Credit card or prepaid card": "card",
    "Credit card": "card",
    "Checking or savings account": "account",
    "Bank account or service": "account",
}
_REST = "loan or transfer"
_SMOKE_TEXTS = 240


@dataclass(frozen=True)
class Texts:
    """Some texts and the class of each."""

    texts: list[str]
    labels: list[str]


@dataclass(frozen=True)
class TextBook:
    """A set of texts in three parts; `longest` is the limit of tokens that its models read."""

    name: str
    longest: int
    train: Texts
    valid: Texts
    test: Texts

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted(set(self.train.labels)))

    def codes(self, part: Texts) -> npt.NDArray[np.int64]:
        """Return the class numbers of a part, (texts,)."""
        place = {label: code for code, label in enumerate(self.classes)}
        return np.array([place[label] for label in part.labels], dtype=np.int64)


def phrasebank(full: bool) -> TextBook | None:
    """Return the sentences of the largest of the nested files, each once, drawn by sentiment; None without the data."""
    file = _data() / "financial_phrasebank" / "financial_phrasebank.parquet"
    if not file.is_file():
        return None
    rows = pl.read_parquet(file).filter(pl.col("file") == "Sentences_50Agree")
    rows = rows.unique("sentence", keep="first", maintain_order=True)
    texts, labels = rows["sentence"].to_list(), rows["sentiment"].to_list()
    # By class: a draw from all would give the rarest sentiment another share in each part.
    order = np.empty(len(texts))
    for label in sorted(set(labels)):
        members = np.flatnonzero(np.array(labels) == label)
        places = generator(0, "phrasebank", label).permutation(len(members))
        order[members] = (places + 0.5) / len(members)
    return _parts("phrasebank", 64, [(texts[row], labels[row]) for row in np.argsort(order, kind="stable")], full)


def complaints(full: bool) -> TextBook | None:
    """Return the complaints with a narrative, oldest first, and the product they are about; None without the data."""
    file = _data() / "cfpb_complaints_sample" / "complaints.parquet"
    if not file.is_file():
        return None
    rows = pl.read_parquet(file).filter(pl.col(_NARRATIVE).is_not_null()).sort("Date received", "Complaint ID")
    products = [_PRODUCTS.get(name, _REST) for name in rows["Product"].to_list()]
    return _parts("complaints", 128, list(zip(rows[_NARRATIVE].to_list(), products, strict=True)), full)


def _parts(name: str, longest: int, rows: list[tuple[str, str]], full: bool) -> TextBook:
    """Cut rows in order: the first teach, the last are the test (for complaints: out of time)."""
    if not full:
        rows = rows[:: max(1, len(rows) // _SMOKE_TEXTS)]
    tested, held = round(_TEST * len(rows)), round(_VALID * len(rows))
    cuts = rows[: -tested - held], rows[-tested - held : -tested], rows[-tested:]
    train, valid, test = (Texts([text for text, _ in part], [label for _, label in part]) for part in cuts)
    return TextBook(name, longest, train, valid, test)


def _data() -> Path:
    return Path(os.environ.get("LEANRISK_DATA", _PUBLIC))
