"""What is served: the simulator's book with 114 features, a lean bundle of it, a LightGBM, and requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.files import write_json
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.pipelines.estimators import LeanRiskClassifier
from leanrisk.pipelines.measure import records_of
from leanrisk.registry.bundle import CARD, REFERENCE, Bundle
from leanrisk.registry.manifest import NAME as MANIFEST
from leanrisk.registry.manifest import Manifest

FEATURES = 114
_ASKED = 200


@dataclass(frozen=True)
class Book:
    """A bundle, and files of what to ask: records for /score, for MLflow's server, a batch; LightGBM's own file."""

    bundle: Path
    records: Path
    mlflow: Path
    batch: Path
    batch_rows: int
    lightgbm: Path


def made(folder: Path, *, rows: int, batch_rows: int, trees: int) -> Book:
    """Return a book, its models taught on `rows` rows."""
    schema = sme_schema(features=FEATURES)
    book = Dataset(conform(simulate_sme(rows=rows, features=FEATURES, seed=1), schema), schema)
    features = list(book.features)
    model = LeanRiskClassifier(trials=2, epochs=2).fit(book.frame.select(features), book.labels)
    bundle = model.to_bundle(str(folder / "bundle"))
    # The estimator leaves out what orders rows, such as the decision's date.
    features = list(bundle.features)
    wanted = set(features)
    asked = records_of(book, features)[:_ASKED]
    plain = [{name: value for name, value in one.items() if name in wanted} for one in asked]
    records = [json.loads(json.dumps(one, default=str)) for one in plain]
    _lines(folder / "records.jsonl", records)
    _lines(folder / "mlflow.jsonl", [{"dataframe_records": [one]} for one in records])
    frame = pl.concat([book.frame.select(features)] * (batch_rows // rows + 1)).head(batch_rows)
    with pa.OSFile(str(folder / "batch.arrow"), "wb") as sink:
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=16_384)
    _lightgbm(book, features, folder / "lightgbm.txt", trees)
    place = Path(str(bundle.folder))
    return Book(
        place,
        folder / "records.jsonl",
        folder / "mlflow.jsonl",
        folder / "batch.arrow",
        batch_rows,
        folder / "lightgbm.txt",
    )


def _lines(file: Path, values: list[dict[str, object]]) -> None:
    file.write_text("".join(f"{json.dumps(value)}\n" for value in values), encoding="utf-8")


def _lightgbm(book: Dataset, features: list[str], file: Path, trees: int) -> None:
    import lightgbm

    numeric = [name for name in features if book.frame[name].dtype.is_numeric()]
    values = book.frame.select(pl.col(numeric).cast(pl.Float64)).to_numpy()
    told = {"objective": "binary", "num_leaves": 63, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(values, book.labels, feature_name=numeric)
    lightgbm.train(told, data, num_boost_round=trees).save_model(str(file))


def variant(bundle: Path, place: Path, mark: int, *, differs: bool = False) -> Path:
    """Return a copy of a bundle under another id; `differs`: its stored reference predictions are not what it says."""
    import shutil

    shutil.copytree(bundle, place)
    card = json.loads((place / CARD).read_text(encoding="utf-8"))
    write_json(place / CARD, {**card, "mark": mark})
    if differs:
        stored = json.loads((place / REFERENCE).read_text(encoding="utf-8"))
        stored["probability"] = [1 - value for value in stored["probability"]]
        (place / REFERENCE).write_text(json.dumps(stored), encoding="utf-8")
    facts = Bundle.load(bundle).manifest.facts
    (place / MANIFEST).unlink()
    Manifest.of(place, facts).write(place)
    return place
