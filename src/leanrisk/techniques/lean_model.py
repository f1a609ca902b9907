"""The lean model that is a network: taught weights, what they were before an adapter, and their graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import polars as pl
from safetensors import SafetensorError

from leanrisk.core.files import write_json
from leanrisk.features.encoder import Encoder
from leanrisk.models.adapter import Adapter
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import check_parity, export_graph
from leanrisk.models.model_file import json_facts
from leanrisk.models.quantization import Quantization
from leanrisk.models.quiet import quiet_transformers
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.techniques.graph_model import NETWORK_KIND, GraphModel

_PARITY_ROWS = 1000
_NETWORK = "network"
ADAPTER = "adapter"
"""Folder of the adapter that is merged into the network, beside the network without it."""
PLAN = "quantization.json"
"""What of the network is int8; the network beside it holds the weights that were taught, which a later round needs."""


@dataclass(frozen=True, kw_only=True)
class LeanModel(GraphModel):
    """A taught network with all that turns raw rows into its inputs and its logit into a probability.

    `facts` says how it was taught (preset, epochs, rows). A network that is a `base` with an `adapter` merged into it
    keeps both, so that the next round can go on with the adapter. With a `plan` the graph is int8, and the network
    holds the weights that its codes were rounded from.
    """

    kind: ClassVar[str] = NETWORK_KIND
    network: RiskTransformer
    base: RiskTransformer | None = None
    adapter: Adapter | None = None
    plan: Quantization | None = None

    @classmethod
    def exported(
        cls,
        encoder: Encoder,
        network: RiskTransformer,
        calibration: Calibration,
        *,
        like: pl.DataFrame,
        base: RiskTransformer | None = None,
        adapter: Adapter | None = None,
        plan: Quantization | None = None,
        **facts: Any,
    ) -> LeanModel:
        """Return the model with its graph, checked against the network on up to 1,000 rows of `like`."""
        graph = export_graph(network, encoder.fields, calibration, plan)
        inputs = encoder.inputs(like.head(_PARITY_ROWS))
        parity = check_parity(graph, network, calibration, inputs, encoder.lookups(inputs), plan)
        return cls(
            encoder=encoder,
            network=network,
            calibration=calibration,
            graph=graph,
            facts={**facts, "parity": parity},
            base=base,
            adapter=adapter,
            plan=plan,
        )

    @property
    def scoring_encoder(self) -> Encoder:
        """The encoder of a bundle: without edges where the graph is packed, since it holds them."""
        return self.encoder if self.plan is None else self.encoder.without_edges()

    @property
    def precision(self) -> str:
        """How its weights are held: "fp32" or "int8"."""
        return "fp32" if self.plan is None else "int8"

    @property
    def parameters(self) -> int:
        """Number of the network's parameters."""
        return int(self.network.num_parameters())

    @property
    def foundation(self) -> tuple[RiskTransformer, Adapter | None]:
        """The network that adapters sit on, and the one that is merged into `network`, if any."""
        return (self.network if self.base is None else self.base), self.adapter

    @property
    def tuning(self) -> dict[str, Any] | None:
        """What its last tuning did, as plain values; None where it was taught once and not tuned since.

        `rows`, `steps`, `trainable` weights, `drift` (PSI of the states that enter the blocks, and after each block),
        `frontier` (step, blocks frozen, why), `depth`, `cached_bytes` and `adapter_bytes`.
        """
        told = self.facts.get("tuning")
        if told is None:
            return None
        bytes_ = None if self.adapter is None else self.adapter.size_bytes
        return {**told, "depth": self.network.depth, "adapter_bytes": bytes_}

    def write_parts(self, folder: Path) -> None:
        """Write the network (safetensors) and its adapter."""
        base, adapter = self.foundation
        with quiet_transformers():
            base.save_pretrained(folder / _NETWORK)
        if adapter is not None:
            adapter.save(folder / ADAPTER)
        if self.plan is not None:
            write_json(folder / PLAN, self.plan.to_dict())

    @classmethod
    def read_parts(cls, folder: Path, encoder: Encoder, calibration: Calibration, facts: dict[str, Any]) -> Self:
        """Return the model with its adapter merged and its graph exported anew; raises as `GraphModel` says."""
        base = _read_network(folder / _NETWORK)
        if encoder.layout.size != base.config.table_rows:
            raise ValueError(f"{base.config.table_rows} rows in its table, {encoder.layout.size} in its fields")
        adapter = Adapter.load(folder / ADAPTER) if (folder / ADAPTER).is_dir() else None
        network = base if adapter is None else adapter.merged(base)
        plan = Quantization.from_dict(json_facts(folder / PLAN)) if (folder / PLAN).is_file() else None
        return cls(
            encoder=encoder,
            network=network,
            calibration=calibration,
            graph=export_graph(network, encoder.fields, calibration, plan),
            facts=facts,
            base=base if adapter else None,
            adapter=adapter,
            plan=plan,
        )


def _read_network(folder: Path) -> RiskTransformer:
    try:
        with quiet_transformers():
            network: RiskTransformer = RiskTransformer.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return network
