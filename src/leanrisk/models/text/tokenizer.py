"""From texts to token numbers: a small tokenizer of one's own, with every text that cannot be read told apart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, DataError, Fault, ModelError

if TYPE_CHECKING:
    # A host that scores no texts does without the library; every bundle's module comes through here.
    from tokenizers import Tokenizer

PAD, UNKNOWN = 0, 1
_SPECIAL = ["[PAD]", "[UNK]"]
_NUMBER = r"\d+(?:[.,]\d+)*"
_LETTERS_PER_TOKEN = 64
"""So many characters are looked at for each token that is read; no language needs a tenth of it."""
_MOST_UNKNOWN = 0.5
_ALPHABET = 4000
"""Characters that are tokens of their own: a Chinese book writes some three thousand."""

Text = str | None


@dataclass(frozen=True)
class TextReading:
    """Texts as a model reads them.

    tokens: int64 (rows, longest), 0 behind the end of a text. Masks, bool (rows,): `empty` has nothing to read (null,
    blanks, control characters alone), `cut` was longer than the limit, `foreign` is known by less than half of its
    tokens (another script, mostly): such a text is not scored.
    """

    tokens: npt.NDArray[np.int64]
    empty: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.bool_]
    foreign: npt.NDArray[np.bool_]

    @property
    def unread(self) -> npt.NDArray[np.bool_]:
        """Rows that are not scored: `empty` or `foreign`."""
        return self.empty | self.foreign

    @property
    def counts(self) -> dict[str, int]:
        """Number of texts, and how many are empty, cut and foreign."""
        masks = {"empty": self.empty, "cut": self.cut, "foreign": self.foreign}
        return {"texts": len(self.tokens), **{name: int(mask.sum()) for name, mask in masks.items()}}


@dataclass(frozen=True)
class TextTokenizer:
    """A byte-pair tokenizer as the JSON of the `tokenizers` library, and the most tokens that are read of a text.

    Letters are folded (NFKC, lower case, no accents, no control characters), each number is one token, and each
    Chinese character stands by itself.
    """

    settings: str
    longest: int = 128

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ConfigError(f"A text must be allowed a token: longest is {self.longest}. Give for example 128.")

    @classmethod
    def trained(cls, texts: Iterable[Text], *, vocabulary: int = 8000, longest: int = 128) -> TextTokenizer:
        """Return a tokenizer of at most `vocabulary` pieces learned from these texts; the same for the same texts.

        Raises `ConfigError` for fewer than 100 pieces, `ModelError` where no text holds a word.
        """
        if vocabulary < 100:
            raise ConfigError(f"A vocabulary needs 100 pieces or more: {vocabulary} were asked for. Raise it.")
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

        inner = Tokenizer(models.BPE(unk_token=_SPECIAL[UNKNOWN], fuse_unk=True))
        inner.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.BertNormalizer(), normalizers.Replace(Regex(_NUMBER), "0")]
        )
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        # Byte-pair merges without a mark for the inside of a word: with one (WordPiece) the library numbers the marked
        # letters in the order of a hash table, and the same texts give another tokenizer in each process.
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            limit_alphabet=min(_ALPHABET, vocabulary // 2),
            special_tokens=_SPECIAL,
            show_progress=False,
        )
        whole = longest * _LETTERS_PER_TOKEN
        inner.train_from_iterator((_checked(text, place)[:whole] for place, text in enumerate(texts)), trainer)
        if inner.get_vocab_size() <= len(_SPECIAL):
            raise ModelError("A tokenizer learns from words: none of the texts holds one. Bring texts.")
        return cls(inner.to_str(), longest)

    @classmethod
    def loaded(cls, settings: str, *, longest: int) -> TextTokenizer:
        """Return the tokenizer written as `settings`; raises `ModelError` where it does not parse."""
        tokenizer = cls(settings, longest)
        try:
            pieces = tokenizer._inner.get_vocab()
        except ModelError:
            raise
        except Exception as error:
            # The library raises a plain Exception for whatever is wrong with its file.
            raise ModelError(f"A tokenizer must be whole: this one is not ({error}). Restore it.") from error
        if [pieces.get(word) for word in _SPECIAL] != [PAD, UNKNOWN]:
            raise ModelError(f"A tokenizer of a text model begins with {_SPECIAL}: this one does not. Restore it.")
        return tokenizer

    @property
    def pieces(self) -> int:
        """Number of tokens that it knows."""
        return int(self._inner.get_vocab_size())

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens that it knows, sorted; letters folded."""
        return tuple(sorted(self._inner.get_vocab()))

    def read(self, texts: Sequence[Text]) -> TextReading:
        """Return the texts as numbers; raises `DataError` for a value that is neither a text nor missing.

        A text is cut after `longest` tokens, or after 64 characters for each of them. NaN and None are missing.
        """
        rows = [self._tokens(_checked(text, place)) for place, text in enumerate(texts)]
        tokens = np.zeros((len(rows), max((len(ids) for ids, _ in rows), default=0) or 1), dtype=np.int64)
        for place, (ids, _) in enumerate(rows):
            tokens[place, : len(ids)] = ids
        sizes = np.array([len(ids) for ids, _ in rows], dtype=np.int64)
        unknown = (tokens == UNKNOWN).sum(axis=1)
        return TextReading(
            tokens,
            empty=sizes == 0,
            cut=np.array([cut for _, cut in rows], dtype=np.bool_),
            foreign=unknown > _MOST_UNKNOWN * sizes,
        )

    def read_one(self, text: Text) -> npt.NDArray[np.int64]:
        """Return one text as int64 (1, tokens), without a column where it is not scored; raises as `read` does."""
        ids, _ = self._tokens(_checked(text, 0))
        if ids.count(UNKNOWN) > _MOST_UNKNOWN * len(ids):
            ids = []
        return np.array([ids], dtype=np.int64)

    def _tokens(self, text: str) -> tuple[list[int], bool]:
        seen = text[: self.longest * _LETTERS_PER_TOKEN]
        ids: list[int] = self._inner.encode(seen).ids
        return ids[: self.longest], len(ids) > self.longest or len(seen) < len(text)

    @cached_property
    def _inner(self) -> Tokenizer:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise ModelError(
                "Texts are read by the package 'tokenizers', which is not installed. Install it: pip install "
                "'leanrisk[text]'."
            ) from error
        return Tokenizer.from_str(self.settings)

    def __getstate__(self) -> dict[str, object]:
        return {"settings": self.settings, "longest": self.longest}

    def to_dict(self) -> dict[str, object]:
        """Return the tokenizer's settings as plain values."""
        plain: dict[str, object] = json.loads(self.settings)
        return plain


def _checked(text: object, place: int) -> str:
    if text is None or (isinstance(text, float) and math.isnan(text)):
        return ""
    if not isinstance(text, str):
        what = f"row {place} of the texts is a {type(text).__name__}: only texts and nulls are read."
        raise DataError(Fault("not-a-text", what, "Write the column as text."))
    return _plain(text)


def _plain(text: Text) -> str:
    # Half a character, as broken exports have them, is no Unicode text and becomes a question mark.
    return "" if text is None else text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
