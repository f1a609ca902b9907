"""MLflow loads our bundles by itself: in Python, through its registry, and as its scoring server on loopback.

`mlflow.pyfunc.spark_udf` hands the same `predict` the same tables; Spark is not installed here, so it is not run.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import BundleError
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.mlflow_client import quiet_mlflow
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.pyfunc import check_model, write_model
from leanrisk.registry.registry import Registry
from tests.registry.bundles import bundle_copy, written
from tests.techniques.lean_books import book, lean_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A registry whose champion is a bundle of the book's numbers and categories."""
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry.open(RegistryConfig(database=f"sqlite:///{folder}/registry.db", snapshots=str(folder)))
    model = lean_model(features=("income", "age", "sector", "region"))
    registry.register(written(folder / "bundle", model), who="ana")
    registry.promote("1", who="ana", why="first", force=True)
    registry.close()
    return folder


@pytest.fixture(scope="module")
def model(place):
    (folder,) = (place / "models").iterdir()
    return folder


@pytest.fixture(scope="module")
def rows():
    return book(40, seed=9).frame


def test_the_folder_holds_no_code_no_pickle_and_no_training_rows(model):
    suffixes = {path.suffix for path in model.rglob("*") if path.is_file()}
    assert suffixes == {"", ".json", ".onnx", ".toml", ".txt", ".yaml"}
    assert not (model / "bundle" / "training").exists()
    check_model(model, model.name)


def test_mlflow_loads_it_and_answers_as_the_bundle_does(model, rows):
    with quiet_mlflow():
        from mlflow.pyfunc import load_model

        loaded = load_model(str(model))
        bundle = Bundle.load(model / "bundle")
        assert loaded.metadata.metadata["leanrisk.snapshot"] == bundle.digest
        assert set(loaded.metadata.get_input_schema().input_names()) == set(bundle.features)
        answers = loaded.predict(rows.to_pandas())
    np.testing.assert_array_equal(answers, bundle.score(rows).astype(np.float64))


def test_mlflow_finds_the_champion_by_its_alias(place, model, rows):
    with quiet_mlflow():
        import mlflow

        before = mlflow.get_registry_uri()
        mlflow.set_registry_uri(f"sqlite:///{place}/registry.db")
        try:
            answers = mlflow.pyfunc.load_model("models:/leanrisk@champion").predict(rows.to_pandas())
        finally:
            mlflow.set_registry_uri(before)
    np.testing.assert_array_equal(answers, Bundle.load(model / "bundle").score(rows).astype(np.float64))


def test_an_altered_bundle_is_not_loaded(model, tmp_path):
    place = shutil.copytree(model, tmp_path / "model")
    (place / "bundle" / "model.onnx").write_bytes(b"other")
    with quiet_mlflow():
        from mlflow.pyfunc import load_model

        with pytest.raises(BundleError, match="altered"):
            load_model(str(place))


@pytest.mark.parametrize("line", ["    loader_module: evil", "    code: code", "    loader_module: evil # x"])
def test_a_model_folder_that_would_run_other_code_is_found(model, tmp_path, line):
    place = shutil.copytree(model, tmp_path / "model")
    text = (place / "MLmodel").read_text()
    (place / "MLmodel").write_text(
        text.replace("    loader_module: leanrisk.registry.pyfunc", line + "\n    data: bundle")
    )
    with pytest.raises(BundleError, match="altered"):
        check_model(place, model.name)
    with pytest.raises(BundleError, match="altered"):
        check_model(model, "0" * 64)


def test_numbers_and_texts_are_announced_and_dates_are_left_to_the_bundle(model, tmp_path, rows):
    bundle = Bundle.load(bundle_copy(tmp_path))
    write_model(bundle, tmp_path / "model")
    with quiet_mlflow():
        from mlflow.pyfunc import load_model

        plain, dated = load_model(str(model)), load_model(str(tmp_path / "model"))
        assert dated.metadata.signature is None
        kinds = {found.name: found.type.name for found in plain.metadata.get_input_schema()}
        answers = dated.predict(rows.to_pandas())
    assert kinds == {"income": "double", "age": "double", "sector": "string", "region": "string"}
    np.testing.assert_array_equal(answers, bundle.score(rows).astype(np.float64))


def test_mlflow_models_serve_answers_on_loopback(model, rows, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "HOME": str(tmp_path)}
    path = os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH")]))
    tools = Path(sys.executable).parent
    command = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "-h", "127.0.0.1", "-p", port]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *map(str, command), "--workers", "1"],
            stdout=log,
            stderr=log,
            env={**os.environ, **told, "PYTHONPATH": path, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _answering(server, f"{url}/ping", tmp_path / "log")
            names = Bundle.load(model / "bundle").features
            asked = {
                "dataframe_split": {"columns": list(names), "data": [list(row) for row in rows.select(names).rows()]}
            }
            status, told_back = _posted(f"{url}/invocations", asked)
            assert status == 200
            expected = Bundle.load(model / "bundle").score(rows).astype(np.float64)
            np.testing.assert_array_equal(told_back["predictions"], expected)
            status, _ = _posted(f"{url}/invocations", {"dataframe_records": [{"nothing": 1}]})
            assert status == 400
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def _answering(server, url, log):
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, ConnectionError):
            # Nothing tells when it listens, so it is asked again.
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def _posted(url, content):
    asked = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def test_rows_with_missing_values_go_through_mlflow(model, rows):
    with quiet_mlflow():
        from mlflow.pyfunc import load_model

        holes = rows.with_columns(pl.when(pl.int_range(pl.len()) > 5).then(pl.col(pl.Float64)).otherwise(None))
        answers = load_model(str(model)).predict(holes.to_pandas())
    np.testing.assert_array_equal(answers, Bundle.load(model / "bundle").score(holes).astype(np.float64))
