"""Networks that reckon in float32 with the numbers that int8 codes stand for, so that they can be taught and judged."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Lookups
from leanrisk.models.field_table import FieldTable
from leanrisk.models.quantization import (
    LARGEST,
    TABLE,
    WORTH_A_BYTE,
    Quantization,
    TableSteps,
    channel_steps,
    in_signed_byte,
    row_owners,
)
from leanrisk.models.risk_transformer import MemberLinear, RiskTransformer
from leanrisk.models.threads import one_thread_each

LEAST_ROWS = 128
"""Rows below which the range of a layer's inputs is a guess."""
_CLIPPED = 1e-4
"""Share of a layer's inputs beyond the range of its codes: a rare extreme must not make every other step coarser."""
_BLOCK_ROWS = 512
_KEPT = 1 << 20


def parts_of(network: RiskTransformer) -> tuple[str, ...]:
    """Return the names of everything in the network that can be int8: the table, each dense layer, the head."""
    kinds = (FieldTable, MemberLinear, nn.Linear)
    return tuple(name for name, module in network.named_modules() if isinstance(module, kinds))


class _Nearest(torch.autograd.Function):
    """The nearest code times its step; gradients pass as if nothing were rounded, but not beyond the codes' range.

    Source: Bengio, Leonard, Courville (2013), "Estimating or Propagating Gradients Through Stochastic Neurons".
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, steps: Tensor, least: int) -> Tensor:
        codes = torch.round(values / steps)
        ctx.save_for_backward((codes >= least) & (codes <= LARGEST))
        return codes.clamp_(least, LARGEST).mul_(steps)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (within,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * within, None, None


def _nearest(values: Tensor, steps: Tensor, least: int = -LARGEST) -> Tensor:
    found: Tensor = _Nearest.apply(values, steps, least)  # type: ignore[no-untyped-call]
    return found


class _RoundedChannels(nn.Module):
    """A dense weight as its codes show it; `axis` is that of the inputs."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        steps = channel_steps(weight.detach().cpu().float().numpy(), self.axis)
        return _nearest(weight, torch.from_numpy(steps).to(weight))


class _RoundedTable(nn.Module):
    """A field table as its codes show it."""

    def __init__(self, table: FieldTable) -> None:
        super().__init__()
        self.owner = row_owners(table.runs, table.in_features)

    def forward(self, weight: Tensor) -> Tensor:
        # The very steps that the graph is written with: another order of sums would differ in the last bit.
        steps = TableSteps.of(weight.detach().cpu().float().numpy(), self.owner).whole
        return _nearest(weight, torch.from_numpy(steps).to(weight))


def rounding(network: RiskTransformer, plan: Quantization) -> None:
    """Make the network's `plan.parts` show what their codes say, in place; it can be taught like that.

    Raises `ModelError` for a part that the network does not have.
    """
    for part in plan.parts:
        module = _part(network, part)
        if isinstance(module, FieldTable):
            rounded: nn.Module = _RoundedTable(module)
        else:
            rounded = _RoundedChannels(1)
        parametrize.register_parametrization(module, "weight", rounded, unsafe=True)
        step = plan.step(part)
        if step is not None:
            module.register_forward_pre_hook(_RoundedInputs(step))
        elif plan.arithmetic == "dynamic" and part != TABLE:
            module.register_forward_pre_hook(_inputs_rounded_together)


def plain_again(network: RiskTransformer, plan: Quantization) -> None:
    """Undo `rounding`: the weights are those that were taught, not the rounded ones."""
    for part in plan.parts:
        module = _part(network, part)
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        module._forward_pre_hooks.clear()


def halve_vectors(network: RiskTransformer) -> None:
    """Round biases, norms and positions, in place, to numbers of 16 bits; long biases to those of 8."""
    weights = {f"{part}.weight" for part in parts_of(network)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".bias") and f"{name.removesuffix('.bias')}.weight" in weights:
                parameter.copy_(torch.from_numpy(in_signed_byte(parameter.cpu().float().numpy())).to(parameter))
                if parameter.numel() >= WORTH_A_BYTE:
                    continue
            if name not in weights:
                # What is added may be as coarse as a 16-bit number near zero is; what is too large for one stays.
                half = parameter.half().to(parameter.dtype)
                parameter.copy_(torch.where(half.isfinite(), half, parameter))


def rounded_copy(network: RiskTransformer, plan: Quantization) -> RiskTransformer:
    """Return a copy of the network that answers as the int8 graph does."""
    shown = copy.deepcopy(network)
    rounding(shown, plan)
    shown.train(False)
    return shown


def input_steps(network: RiskTransformer, lookups: Lookups, parts: Sequence[str]) -> dict[str, float]:
    """Return the step of each dense part's inputs, from what they are on these rows; the network stays as it is.

    All but one in 10,000 values lie within the range of the codes. Raises `ModelError` for fewer than 128 rows, which
    say little of the values to come, and for inputs that are no finite numbers.
    """
    if lookups.rows < LEAST_ROWS:
        raise ModelError(
            f"Calibrating int8 needs at least {LEAST_ROWS} rows, to see how far each layer's inputs reach: there are "
            f"{lookups.rows}. Bring more rows, or leave the step out."
        )
    seen: dict[str, list[np.ndarray]] = {part: [] for part in parts if part != TABLE}
    with _watching(network, seen), torch.inference_mode(), one_thread_each():
        network.train(False)
        for start in range(0, lookups.rows, _BLOCK_ROWS):
            block = lookups.take(slice(start, start + _BLOCK_ROWS))
            network(torch.from_numpy(block.index), torch.from_numpy(block.weight))
    return {part: _step(part, np.concatenate(values)) for part, values in seen.items()}


def _step(part: str, values: np.ndarray) -> float:
    if not np.isfinite(values).all():
        raise ModelError(f"The inputs of '{part}' must be finite numbers: some are not. Teach the network again.")
    # Only a multiple of what is kept of very many values: their quantile is as near as it matters.
    reach = float(np.quantile(values[:: 1 + values.size // (8 * _KEPT)], 1 - _CLIPPED))
    return max(reach, 1e-6) / LARGEST


@contextlib.contextmanager
def _watching(network: RiskTransformer, seen: dict[str, list[np.ndarray]]) -> Iterator[None]:
    handles = []
    for part, values in seen.items():

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], values: list[np.ndarray] = values) -> None:
            values.append(inputs[0].abs().flatten().numpy())

        handles.append(_part(network, part).register_forward_pre_hook(keep))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _RoundedInputs:
    """A layer's inputs as their codes show them, by one fixed step."""

    def __init__(self, step: float) -> None:
        self.step = step

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_nearest(inputs[0], inputs[0].new_tensor(self.step), -LARGEST - 1),)


def _inputs_rounded_together(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Round as ONNX's DynamicQuantizeLinear does: 256 codes between the least and the largest value of the call."""
    values = inputs[0]
    low, high = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
    step = torch.where(high > low, (high - low) / 255, torch.ones_like(high))
    zero = torch.round(-low / step).clamp(0, 255)
    return ((torch.round(values / step).add(zero).clamp(0, 255) - zero) * step,)


def _part(network: RiskTransformer, name: str) -> nn.Module:
    if name not in parts_of(network):
        raise ModelError(
            f"int8 works on parts of the network: none is called '{name}'. There are {', '.join(parts_of(network))}."
        )
    module: nn.Module = network.get_submodule(name)
    return module
