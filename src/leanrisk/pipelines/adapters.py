"""Putting what a LoRA refresh learned onto a shelf, beside the others of the same base."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from leanrisk.core.errors import BundleError, ConfigError
from leanrisk.core.files import writable_folder, write_json
from leanrisk.core.version import __version__
from leanrisk.models.adapter import Adapter
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import TOLERANCE, check_parity, export_graph
from leanrisk.models.model_file import json_facts
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.pipelines.replay import REPLAY
from leanrisk.registry.bundle import TRAINING, Bundle, write_bundle
from leanrisk.registry.manifest import TEXT
from leanrisk.registry.shelf import BASE, BASE_FACT, Shelf, checked_name, is_shelf
from leanrisk.techniques.lean_model import ADAPTER, LeanModel

CALIBRATION = "calibration.json"
_ROWS = f"{TRAINING}/{REPLAY}"
"""Real cases, which nothing on a shelf needs."""


@dataclass(frozen=True)
class Source:
    """A bundle that a LoRA refresh wrote, opened: the base network without the adapter, and the adapter."""

    bundle: Bundle
    model: LeanModel
    base: RiskTransformer
    adapter: Adapter


def add(
    shelf: Path | str, name: str, source: Path | str, *, base: Path | str | None = None, replacing: bool = False
) -> Bundle:
    """Put the adapter of the bundle `source` onto the shelf as `name`; return the bundle that it scores with.

    Where there is no shelf yet, one is made: its base is a copy of the bundle `base`, its kept rows left out, or else
    the network under the adapter, with the source's calibration. What scores stays as it is. Raises `ConfigError` for a
    bad or a taken name, and for replacing the adapter that scores now, `ModelError` for an adapter of another base
    (naming both), `BundleError` for another encoder or schema and for damaged files; in each case the shelf is as
    before.
    """
    place = Path(shelf)
    checked_name(name)
    found = opened_source(source)
    if is_shelf(place):
        known = _existing(place, base)
        if name in known.names and not replacing:
            raise ConfigError(
                f"A name stands for one adapter: '{name}' is on the shelf already. Choose another, or give --replace."
            )
        if replacing and name in known.names and name == known.current:
            raise ConfigError(
                f"An adapter that scores now is not replaced under its readers: '{name}' is the current one. Use "
                f"another one first (`leanrisk adapters use {place} {BASE}`), or choose another name."
            )
        ground = known.load(None)
        return _written(known, name, found, ground, _derived(found, ground))
    with tempfile.TemporaryDirectory(prefix="leanrisk-shelf-") as spare:
        ground = Bundle.load(base) if base is not None else _ground(found, Path(spare))
        # Asked before the shelf is made, since a shelf that nothing could be put on would stand there.
        graph = _derived(found, ground)
        made = Shelf.create(place, ground, without=(_ROWS,))
        return _written(made, name, found, made.load(None), graph)


def opened_source(folder: Path | str) -> Source:
    """Return a refreshed bundle with its adapter; raises `BundleError` where it has none, `ModelError` for damage."""
    bundle = Bundle.load(folder)
    if not (bundle.folder / TRAINING / ADAPTER).is_dir():
        raise BundleError(
            f"An adapter comes from a bundle that a LoRA refresh wrote: '{folder}' has no {TRAINING}/{ADAPTER}. "
            "Refresh with the technique 'lora', and give its bundle as it was written."
        )
    model = LeanModel.load(bundle.folder / TRAINING)
    base, adapter = model.foundation
    if adapter is None:
        raise BundleError(f"A bundle with an adapter must load it: '{folder}' did not. Restore it from its source.")
    return Source(bundle, model, base, adapter)


def base_network(ground: Bundle) -> RiskTransformer:
    """Return the network of a shelf's base; raises `BundleError` where it cannot be one."""
    if not (ground.folder / TRAINING).is_dir():
        raise BundleError(
            f"Adapters go onto a network: the base '{ground.folder}' came without '{TRAINING}'. Give the bundle as its "
            "run wrote it, not a copy made for scoring."
        )
    network, adapter = LeanModel.load(ground.folder / TRAINING).foundation
    if adapter is not None:
        raise BundleError(
            f"A shelf's base has no adapter of its own: '{ground.folder}' is the outcome of a LoRA refresh. Leave "
            "--base out, and the base is the network under that adapter; or give the bundle that the refresh started "
            f"from ({_parent(ground)})."
        )
    return network


def _parent(ground: Bundle) -> str:
    parent = ground.manifest.facts.get("parent")
    return "in a run's folder: run `leanrisk shrink`, whose bundle has none" if parent is None else f"digest {parent}"


def adapter_of(shelf: Shelf, name: str) -> tuple[Adapter, Calibration]:
    """Return an adapter of the shelf and its calibration, checked; raises `BundleError`, `ModelError`."""
    training = shelf.load(name).folder / TRAINING
    return Adapter.load(training / ADAPTER), Calibration.from_dict(json_facts(training / CALIBRATION))


def _existing(place: Path, base: Path | str | None) -> Shelf:
    shelf = Shelf.open(place)
    if base is not None and not shelf.made_from(Bundle.load(base)):
        raise ConfigError(
            f"A shelf keeps the base it was made with: '{place}' has {shelf.load(None).digest}, '{base}' is "
            f"{Bundle.load(base).digest}. Leave --base out, or start another shelf."
        )
    return shelf


def _ground(source: Source, folder: Path) -> Bundle:
    """Return a base bundle made of the network under the adapter, which has no calibration but the source's."""
    model, calibration = source.model, source.model.calibration
    graph = export_graph(source.base, model.encoder.fields, calibration)
    plain = replace(model, network=source.base, graph=graph, base=None, adapter=None)
    facts = {**source.bundle.manifest.facts, "taken_from": source.bundle.digest}
    return write_bundle(
        folder / "base",
        graph=graph,
        encoder=model.encoder,
        schema=source.bundle.schema,
        reference=source.bundle.reference_rows(),
        card={"features": list(model.features), "taught": model.facts, "calibration": "that of the first adapter"},
        facts=facts,
        training=plain.save,
        texts=source.bundle.texts,
    )


def _written(shelf: Shelf, name: str, source: Source, ground: Bundle, graph: bytes) -> Bundle:
    adapter, model = source.adapter, source.model

    def keep(folder: Path) -> None:
        adapter.save(writable_folder(folder / ADAPTER))
        write_json(folder / CALIBRATION, model.calibration.to_dict())

    return write_bundle(
        shelf.place(name),
        graph=graph,
        encoder=ground.encoder,
        schema=ground.schema,
        reference=ground.reference_rows(),
        card={"features": list(model.features), "taught": model.facts},
        facts={
            **source.bundle.manifest.facts,
            "leanrisk": __version__,
            "source": source.bundle.digest,
            BASE_FACT: ground.digest,
            "adapter": {
                "digest": adapter.digest,
                "base": adapter.base,
                "bytes": adapter.size_bytes,
                "parameters": adapter.parameters,
                "rank": adapter.settings["r"],
            },
        },
        training=keep,
        texts=source.bundle.texts,
    )


def _derived(source: Source, ground: Bundle) -> bytes:
    """Return the graph of the base with the adapter merged in; raises where they do not belong together."""
    network = base_network(ground)
    # The network first: whoever brings another base has another encoder, too.
    merged = source.adapter.merged(network)
    _same_reading(source.bundle, ground)
    encoder, calibration = ground.encoder, source.model.calibration
    rows = ground.reference_rows()
    graph = export_graph(merged, encoder.fields, calibration)
    check_parity(graph, merged, calibration, rows, encoder.lookups(rows))
    answers, served = GraphSession(graph).probability(rows), source.bundle.session.probability(rows)
    worst = float(np.max(np.abs(answers - served) / np.maximum(1.0, np.abs(served)), initial=0.0))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"A bundle must answer as its adapter does: '{source.bundle.folder}' differs by {worst:.2e}. Restore it "
            "from its source."
        )
    return graph


def _same_reading(bundle: Bundle, ground: Bundle) -> None:
    theirs, ours = bundle.encoder.to_dict(), ground.encoder.to_dict()
    if theirs != ours:
        _refuse("encoder", bundle, _other(_entries(theirs["fields"]), _entries(ours["fields"])))
    if bundle.schema != ground.schema:
        columns = ({column.name: column for column in schema.columns} for schema in (bundle.schema, ground.schema))
        _refuse("schema", bundle, _other(*columns))
    read, ours = (
        {name: sum_ for name, sum_ in each.manifest.files.items() if name.startswith(f"{TEXT}/")}
        for each in (bundle, ground)
    )
    if read != ours:
        _refuse("text models", bundle, _other(read, ours))


def _entries(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for kind in ("numeric", "category") for entry in fields[kind]}


def _other(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return where the two differ, as words."""
    names = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    return f"at '{names[0]}'" if names else "in its settings"


def _refuse(part: str, bundle: Bundle, where: str) -> NoReturn:
    raise BundleError(
        f"An adapter reads rows as its base does: the {part} of '{bundle.folder}' is another than the base's, {where}. "
        "Refresh from the shelf's own base, and its encoder and schema stay."
    )
