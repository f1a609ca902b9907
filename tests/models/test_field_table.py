"""The field table: a weighted sum of rows, whichever way it is computed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.models.field_table import FieldTable

TOKENS = (0, 0, 0, 1, 1, 2, 2, 2, 2)
ROWS, WIDTH = 13, 4


def table(lookup_tokens=TOKENS) -> FieldTable:
    made = FieldTable(ROWS, WIDTH, lookup_tokens)
    with torch.no_grad():
        made.weight.copy_(torch.randn(ROWS, WIDTH + 1, generator=torch.Generator().manual_seed(1)))
    return made


def asked(rows: int, *, seed: int = 0, lookups: int = len(TOKENS)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    index = torch.from_numpy(rng.integers(0, ROWS, (rows, lookups)).astype(np.int32))
    return index, torch.from_numpy(rng.random((rows, lookups)).astype(np.float32))


def plain_sum(weight: torch.Tensor, index: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """What the table stands for, spelled out with torch's own gradient."""
    read = weight[index.long()] * share[:, :, None]
    owner = torch.tensor(TOKENS)
    return torch.stack([read[:, owner == token].sum(dim=1) for token in range(3)], dim=1)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 9), seed=st.integers(0, 99))
def test_every_way_gives_one_sum_and_one_gradient(rows, seed):
    index, share = asked(rows, seed=seed)
    made = table()
    upstream = torch.randn(rows, 3, WIDTH + 1, generator=torch.Generator().manual_seed(seed))
    own = made(index, share)
    (gradient,) = torch.autograd.grad(own, made.weight, upstream)
    expected = plain_sum(made.weight, index, share)
    (expected_gradient,) = torch.autograd.grad(expected, made.weight, upstream)
    torch.testing.assert_close(own, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    with torch.no_grad():
        torch.testing.assert_close(made(index, share), own.detach(), rtol=0, atol=0)
        torch.testing.assert_close(made(index.long(), share), own.detach(), rtol=0, atol=0)


def test_a_repeated_row_counts_each_time():
    made = table((0, 0))
    index, share = torch.tensor([[5, 5]], dtype=torch.int32), torch.tensor([[0.25, 0.5]])
    torch.testing.assert_close(made(index, share)[0, 0], 0.75 * made.weight[5])
    (gradient,) = torch.autograd.grad(made(index, share).sum(), made.weight)
    assert gradient[5].tolist() == [0.75] * (WIDTH + 1)
    assert gradient.abs().sum().item() == pytest.approx(0.75 * (WIDTH + 1))


def test_a_frozen_table_passes_no_gradient():
    made = table()
    made.weight.requires_grad_(False)
    assert not made(*asked(4)).requires_grad


def test_a_row_beyond_the_table_is_refused():
    index, share = asked(2)
    index[1, 3] = ROWS
    with pytest.raises(RuntimeError, match="(?i)index"):
        table()(index, share)
