"""LightGBM's own text: whatever it writes is read back, and what it cannot have written is refused."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from leanrisk.core.errors import ModelError
from leanrisk.models.loaded_lightgbm import load_lightgbm


@pytest.fixture(scope="module")
def split_by_a_gap() -> tuple[lgb.Booster, np.ndarray]:
    """A booster whose only split separates missing from present values: its threshold is infinite."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2000, 1))
    gap = rng.random(2000) < 0.3
    values[gap] = np.nan
    outcome = (rng.random(2000) < np.where(gap, 0.8, 0.1)).astype(float)
    params = {"objective": "binary", "num_leaves": 2, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 500}
    return lgb.train(params, lgb.Dataset(values, outcome), num_boost_round=5), values


def test_an_infinite_threshold_is_no_fault(split_by_a_gap, tmp_path):
    booster, values = split_by_a_gap
    file = tmp_path / "model.txt"
    booster.save_model(file)
    assert "threshold=inf" in file.read_text()
    loaded = load_lightgbm(file)
    expected = booster.predict(values, num_threads=1)
    assert np.array_equal(loaded.booster.predict(values, num_threads=1), expected)
    route = loaded.compiled()
    assert [route(row[None]) for row in values[:50]] == expected[:50].tolist()


def test_a_leaf_that_is_not_finite_is_refused(split_by_a_gap, tmp_path):
    booster, _ = split_by_a_gap
    text = booster.model_to_string()
    line = next(line for line in text.splitlines() if line.startswith("leaf_value="))
    for word in ("inf", "nan"):
        first = line.removeprefix("leaf_value=").split()[0]
        # As long as the value that it replaces, since the header counts bytes.
        broken = text.replace(line, line.replace(first, word.ljust(len(first))), 1)
        file = tmp_path / "model.txt"
        file.write_text(broken)
        with pytest.raises(ModelError, match=r"not finite|not a number"):
            load_lightgbm(file)
