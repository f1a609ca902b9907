"""Adapters of the field table: coarse knots, a change that starts at nothing, and a merge that answers alike."""

import numpy as np
import pytest
import torch
from torch import nn

from leanrisk.features.encoder import Encoder
from leanrisk.models.adapter import Adapter
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import check_parity, export_graph
from leanrisk.models.field_table import FieldTable
from leanrisk.models.table_lora import KNOTS, TableLora, coarse_rows
from leanrisk.models.training import plain_network, train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.peft import LoraConfig, get_peft_model
from tests.models.networks import logits_of, made_fields, made_inputs, made_network, ruled_lesson

FIELDS = made_fields(4, 1, codes=1)
INPUTS = made_inputs(FIELDS, 40)
LOOKUPS = Encoder(FIELDS).lookups(INPUTS)
BASE = made_network("tiny", FIELDS)


def drawn(seed=1, targets=("table",), network=BASE):
    """Return an adapter that says something."""
    start = Adapter.fresh(network, rank=3, alpha=3, targets=targets, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    taught = {name: w + 0.3 * torch.randn(w.shape, generator=generator) for name, w in start.weights.items()}
    return Adapter(start.settings, taught, start.base)


def layer_of(adapter) -> TableLora:
    layer: nn.Module = plain_network(adapter.attached(BASE)).get_submodule("table")
    assert isinstance(layer, TableLora)
    return layer


def test_knots_are_shared_and_what_stands_for_itself_is_not():
    table = FieldTable(2 + 20 + 3 + 1 + 4, 2, (0, 0, 0, 0, 0), runs=((2, 20), (3, 0), (1, 4)))
    near, share = coarse_rows(table)
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    assert near.max() == 2 + KNOTS + 3 + 1 + 4 - 1
    place = (near * share).sum(axis=1)
    np.testing.assert_allclose(place[:2], [0, 1])
    np.testing.assert_allclose(place[2:22], 2 + np.linspace(0, KNOTS - 1, 20), atol=1e-5)
    # Few knots keep a coarse row each, and no row reads another field's.
    np.testing.assert_allclose(place[22:], 2 + KNOTS + np.arange(8))
    assert (near[share == 0] == near[np.roll(share == 0, 1, axis=1)]).all()


def test_without_runs_each_row_stands_for_itself():
    near, share = coarse_rows(FieldTable(5, 2, (0, 0)))
    assert near[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert share[:, 0].tolist() == [1.0] * 5


@pytest.mark.parametrize("preset", ["tiny", "swift"])
def test_a_fresh_adapter_of_the_table_changes_nothing(preset):
    network = made_network(preset, FIELDS)
    fresh = Adapter.fresh(network, rank=3, alpha=3, targets=["table"], seed=1)
    np.testing.assert_array_equal(logits_of(fresh.attached(network), LOOKUPS), logits_of(network, LOOKUPS))
    coarse = int(coarse_rows(network.table)[0].max()) + 1
    assert fresh.parameters == 3 * (coarse + network.config.width + 1)


@pytest.mark.parametrize("targets", [("table",), ("table", "query_key_value")])
def test_merged_attached_and_exported_answer_alike(targets):
    adapter = drawn(targets=targets)
    merged = adapter.merged(BASE)
    assert np.abs(logits_of(merged, LOOKUPS) - logits_of(BASE, LOOKUPS)).max() > 0.05
    np.testing.assert_allclose(logits_of(adapter.attached(BASE), LOOKUPS), logits_of(merged, LOOKUPS), atol=2e-5)
    calibration = Calibration(kind="level", intercept=0.1)
    check_parity(export_graph(merged, FIELDS, calibration), merged, calibration, INPUTS, LOOKUPS)


def test_what_is_merged_can_be_taken_out_again():
    layer = layer_of(drawn())
    layer.merge(safe_merge=True)
    assert not torch.equal(layer.get_base_layer().get_parameter("weight"), BASE.table.weight)
    layer.unmerge()
    torch.testing.assert_close(layer.get_base_layer().get_parameter("weight"), BASE.table.weight)


def test_a_merge_that_is_not_finite_is_refused():
    layer = layer_of(drawn())
    with torch.no_grad():
        layer.lora_A["default"].get_parameter("weight").fill_(torch.inf)
    with pytest.raises(ValueError, match="must be finite: that of adapter 'default'"):
        layer.merge(safe_merge=True)


def test_training_moves_the_adapter_alone_and_lowers_the_loss():
    adapter = Adapter.fresh(BASE, rank=3, alpha=3, targets=["table"], seed=1)
    wrapped = adapter.attached(BASE)
    config = TrainingConfig(epochs=4, batch=64, learning_rate=0.04, threads=1)
    log = train(wrapped, ruled_lesson(300, seed=1), held_out=ruled_lesson(80, seed=2), config=config, seed=0)
    learned = Adapter.of(wrapped, adapter.base)
    assert log.trainable == adapter.parameters
    assert log.losses[-1] < log.losses[0]
    assert all(not torch.equal(learned.weights[name], tensor) for name, tensor in adapter.weights.items())


def test_it_is_saved_and_loaded(tmp_path):
    adapter = drawn()
    adapter.save(tmp_path)
    again = Adapter.load(tmp_path)
    assert again.digest == adapter.digest
    np.testing.assert_array_equal(logits_of(again.merged(BASE), LOOKUPS), logits_of(adapter.merged(BASE), LOOKUPS))


def test_pefts_two_names_adapt_the_table_too_and_leave_the_settings_alone():
    config = LoraConfig(r=2, target_modules=["table"], bias="none")
    model = get_peft_model(made_network("tiny", FIELDS), config)
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name, p in model.named_parameters() if p.requires_grad} == {
        "table"
    }
    assert config._custom_modules is None
