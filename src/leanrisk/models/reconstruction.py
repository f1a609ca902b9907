"""Masked fields and the throw-away head that guesses them: what a network can learn from rows without outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Fields, TableLayout
from leanrisk.models.risk_config import RiskTransformerConfig

_SMALLEST = 1e-30


@dataclass(frozen=True)
class Span:
    """One latent token's share of everything: its fields, their look-ups and their table rows, each one run.

    `member` (rows of the table, fields) holds a 1 where the row belongs to the field: a product with it sums by field.
    """

    fields: slice
    lookups: slice
    rows: slice
    member: Tensor


class Reconstruction(nn.Module):
    """Guesses which table rows a masked field reads, from the token that the field belongs to.

    A masked field is one whose look-up weights are 0: it says nothing, not even that it is missing. The target of a
    numeric field is its two knots with their weights, of a category its code, of a missing value or a special code the
    row of that: being missing is a value like another, often a telling one, and is guessed like another. The head is
    thrown away afterwards; it shares no weight with the table. Source: masked reconstruction as in Rubachev et al.
    (2022), "Revisiting Pretraining Objectives for Tabular Deep Learning", here over the rows of quantile knots.
    """

    def __init__(self, config: RiskTransformerConfig, fields: Fields) -> None:
        super().__init__()
        check_reconstructable(config, fields)
        self.spans = _spans(config, fields)
        lookups = [2] * len(fields.numeric) + [1] * len(fields.category)
        self.fields = len(lookups)
        self.field_of_lookup = torch.from_numpy(np.repeat(np.arange(self.fields), lookups))
        self.norm = nn.LayerNorm(config.width)
        self.weight = nn.Parameter(torch.empty(config.table_rows, config.width))
        self.bias = nn.Parameter(torch.zeros(config.table_rows))
        nn.init.normal_(self.weight, std=0.02)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Reconstruction:
        # Where the head goes, the tensors that are no weights go too.
        moved: Reconstruction = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved.field_of_lookup = fn(moved.field_of_lookup)
        moved.spans = tuple(replace(span, member=fn(span.member)) for span in moved.spans)
        return moved

    def seen(self, weight: Tensor, masked: Tensor) -> Tensor:
        """Return the look-up weights (rows, look-ups) with those of `masked` (rows, fields) fields set to 0."""
        return weight * ~masked[:, self.field_of_lookup]

    def loss(self, states: Tensor, index: Tensor, weight: Tensor, masked: Tensor) -> Tensor:
        """Return the cross-entropy in nats of all masked fields, summed.

        states (rows, tokens, width), from weights that `seen` has masked; `index` and the full `weight` (rows,
        look-ups); `masked` (rows, fields). Per field: log of the sum of exp(logit) over its own rows, less the mean of
        the logits that it reads, weighted as it reads them.
        """
        total = states.new_zeros(())
        for span, logits in self._logits(states):
            hidden = masked[:, span.fields]
            top = logits.detach().amax(dim=1, keepdim=True)
            sums = (logits - top).exp() @ span.member
            # A field whose logits all lie 69 below its neighbour's would sum to 0; its rows' mean hardly ever moves.
            levels = sums.clamp_min(_SMALLEST).log() + top
            read = logits.gather(1, self._places(span, index)) * weight[:, span.lookups]
            told = masked[:, self.field_of_lookup[span.lookups]]
            total = total + (levels * hidden).sum() - (read * told).sum()
        return total

    def guessed(self, states: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        """Return whether each field's likeliest row is the one that it reads most of: bool (rows, fields)."""
        found = []
        for span, logits in self._logits(states):
            field = self.field_of_lookup[span.lookups] - span.fields.start
            owner = span.member.argmax(dim=1).expand(len(logits), -1)
            best = logits.new_full((len(logits), span.member.shape[1]), -torch.inf)
            best = best.scatter_reduce(1, owner, logits, "amax")
            at_best = logits.gather(1, self._places(span, index)) >= best[:, field]
            found.append(_any_by_field(at_best & (weight[:, span.lookups] >= 0.5), field, span.member.shape[1]))
        return torch.cat(found, dim=1)

    def commonest(self, index: Tensor, weight: Tensor) -> Tensor:
        """Return the table row (fields,) that each field reads most of in most of these rows."""
        counts = torch.zeros(len(self.bias), dtype=torch.int64, device=index.device)
        counts += torch.bincount(index[weight >= 0.5].flatten(), minlength=len(self.bias))
        best = [counts[span.rows, None] * span.member for span in self.spans]
        return torch.cat([part.argmax(dim=0) + span.rows.start for part, span in zip(best, self.spans, strict=True)])

    def reads(self, index: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        """Return whether each field reads most of its row in `rows` (fields,): bool (rows, fields)."""
        field = self.field_of_lookup
        return _any_by_field((index == rows[field]) & (weight >= 0.5), field, self.fields)

    def _logits(self, states: Tensor) -> list[tuple[Span, Tensor]]:
        states = self.norm(states)
        return [
            (span, torch.addmm(self.bias[span.rows], states[:, place], self.weight[span.rows].T))
            for place, span in enumerate(self.spans)
        ]

    @staticmethod
    def _places(span: Span, index: Tensor) -> Tensor:
        places: Tensor = index[:, span.lookups].long() - span.rows.start
        return places


def check_reconstructable(config: RiskTransformerConfig, fields: Fields) -> None:
    """Raise `ConfigError` for a body that cannot be pre-trained, `ModelError` for fields of another network."""
    if config.body != "transformer":
        raise ConfigError(
            f"Only a transformer body can be pre-trained: this one is '{config.body}', whose dense layers mix all "
            "tokens into one state, from which no field can be told apart. Choose the preset tiny, mid or base."
        )
    lookups = 2 * len(fields.numeric) + len(fields.category)
    if TableLayout.of(fields).size != config.table_rows or lookups != len(config.lookup_tokens):
        raise ModelError(
            f"Fields and network must belong together: the fields have {TableLayout.of(fields).size} table rows and "
            f"{lookups} look-ups, the network {config.table_rows} and {len(config.lookup_tokens)}. Make the network "
            "for these fields."
        )


def _spans(config: RiskTransformerConfig, fields: Fields) -> tuple[Span, ...]:
    layout, pairs = TableLayout.of(fields), len(fields.numeric)
    starts = np.array([*layout.starts, layout.size])
    first = np.array([2 * place if place < pairs else pairs + place for place in range(len(layout.starts))])
    tokens = np.array(config.lookup_tokens)
    ends, spans = np.append(first, tokens.size), []
    for token in range(config.tokens):
        own = np.flatnonzero(tokens[first] == token)
        start, stop = int(own[0]), int(own[-1]) + 1
        owner = np.repeat(np.arange(stop - start), np.diff(starts[start : stop + 1]))
        member = torch.zeros(owner.size, stop - start)
        member[torch.arange(owner.size), torch.from_numpy(owner)] = 1.0
        rows = slice(int(starts[start]), int(starts[stop]))
        spans.append(Span(slice(start, stop), slice(int(ends[start]), int(ends[stop])), rows, member))
    return tuple(spans)


def _any_by_field(values: Tensor, field: Tensor, fields: int) -> Tensor:
    """Return bool (rows, fields): whether any of a field's look-ups, bool (rows, look-ups), is true."""
    counts = torch.zeros(len(values), fields, dtype=torch.int32, device=values.device)
    return counts.index_add_(1, field, values.int()) > 0
