"""A lesson's seconds on a GPU, told to the phase that is charged with them."""

from __future__ import annotations

import re

from leanrisk.cost.ledger import Phase
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.graph_model import GraphModel

_TYPE = re.compile(r"\b[a-z]{1,2}[0-9]{1,4}[a-z]?\b")


def charge_gpu(phase: Phase, taught: Candidate) -> None:
    """Add the GPU-seconds of the candidate's last lesson to the phase that it ran in; nothing on a CPU.

    A tuned model's last lesson is its tuning; one that was never tuned was taught once.
    """
    if not isinstance(taught.model, GraphModel):
        return
    told = taught.model.facts.get("tuning") or taught.model.facts
    seconds = float(told.get("gpu_s", 0.0))
    if seconds > 0:
        phase.add_gpu(seconds, gpu=card_type(str(told.get("gpu", ""))))


def card_type(name: str) -> str:
    """Return a card's type as rate cards name it: "NVIDIA H100 80GB HBM3" is "h100".

    A name without such a type comes back as it is, in lower case.
    """
    plain = name.lower()
    found = _TYPE.search(plain)
    return found.group() if found else plain
