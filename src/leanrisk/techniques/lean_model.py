"""The lean model: encoder, taught network, calibration and the exported graph that answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from safetensors import SafetensorError

from leanrisk.core.errors import ModelError
from leanrisk.core.files import write_json
from leanrisk.core.inputs import Inputs
from leanrisk.features.encoder import Encoder
from leanrisk.models.adapter import Adapter
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import check_parity, export_graph
from leanrisk.models.incumbent import RecordRoute
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.quiet import quiet_transformers
from leanrisk.models.risk_transformer import RiskTransformer

_PARITY_ROWS = 1000
_NETWORK, _FACTS = "network", "lean.json"
ADAPTER = "adapter"
"""Folder of the adapter that is merged into the network, beside the network without it."""


@dataclass(frozen=True)
class LeanModel:
    """A taught network with all that turns raw rows into its inputs and its logit into a probability.

    Every prediction comes from the exported graph, so what is measured is what is deployed. `facts` says how it was
    taught (preset, epochs, rows), for the card and the report. A network that is a `base` with an `adapter` merged into
    it keeps both, so that the next round can go on with the adapter.
    """

    encoder: Encoder
    network: RiskTransformer
    calibration: Calibration
    graph: bytes
    facts: dict[str, Any] = field(default_factory=dict)
    base: RiskTransformer | None = None
    adapter: Adapter | None = None
    kind: str = "risk-transformer"

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
        **facts: Any,
    ) -> LeanModel:
        """Return the model with its graph, checked against the network on up to 1,000 rows of `like`."""
        graph = export_graph(network, encoder.fields, calibration)
        inputs = encoder.inputs(like.head(_PARITY_ROWS))
        parity = check_parity(graph, network, calibration, inputs, encoder.lookups(inputs))
        return cls(encoder, network, calibration, graph, {**facts, "parity": parity}, base, adapter)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that it reads, numeric first."""
        return self.encoder.fields.names

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score: the graph and the encoder."""
        return len(self.graph) + len(json.dumps(self.encoder.to_dict()).encode())

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

    def score(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Return the probability of bad (regression: the value) for encoded rows, float32 (rows,)."""
        return self._session.probability(inputs)

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row of raw columns, shape (rows,)."""
        return self.score(self.encoder.inputs(frame)).astype(np.float64)

    def usual(self) -> RecordRoute:
        """Return the route that serves it: a record through the encoder and the graph, one thread."""
        encode, answer = self.encoder.record, self._session.probability
        return lambda record: float(answer(encode(record))[0])

    def save(self, folder: Path) -> None:
        """Write what a later `refresh` starts from: network (safetensors), its adapter, encoder and calibration."""
        base, adapter = self.foundation
        with quiet_transformers():
            base.save_pretrained(folder / _NETWORK)
        if adapter is not None:
            adapter.save(folder / ADAPTER)
        write_json(
            folder / _FACTS,
            {"encoder": self.encoder.to_dict(), "calibration": self.calibration.to_dict(), "facts": self.facts},
        )

    @classmethod
    def load(cls, folder: Path) -> LeanModel:
        """Return the model that `save` wrote, its graph exported anew; raises `ModelError` where it is damaged."""
        try:
            plain = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            with quiet_transformers():
                base: RiskTransformer = RiskTransformer.from_pretrained(
                    folder / _NETWORK, local_files_only=True, use_safetensors=True
                )
            encoder = Encoder.from_dict(plain["encoder"])
            calibration = Calibration.from_dict(plain["calibration"])
            if encoder.layout.size != base.config.table_rows:
                raise ValueError(f"{base.config.table_rows} rows in its table, {encoder.layout.size} in its fields")
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"A saved lean model must be whole: '{folder}' is not ({error}). Shrink again, or restore the folder."
            ) from error
        adapter = Adapter.load(folder / ADAPTER) if (folder / ADAPTER).is_dir() else None
        network = base if adapter is None else adapter.merged(base)
        graph = export_graph(network, encoder.fields, calibration)
        return cls(encoder, network, calibration, graph, dict(plain["facts"]), base if adapter else None, adapter)

    def __getstate__(self) -> dict[str, Any]:
        # A copy opens its own session: ONNX Runtime's cannot leave the process.
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def _session(self) -> GraphSession:
        return GraphSession(self.graph)
