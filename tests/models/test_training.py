"""The training loop learns what there is to learn, the same for a seed, and refuses what it cannot use."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.evaluate.delong import auc_difference, auc_interval
from leanrisk.features.encoder import Encoder
from leanrisk.models import training_loop
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits, train
from leanrisk.models.training_config import TrainingConfig
from tests.models.networks import PEFT_LAGS_BEHIND, made_fields, made_inputs, made_network, ruled_lesson

FIELDS = made_fields(4, 1, codes=0)
SHORT = TrainingConfig(epochs=3, batch=64, threads=1)


def fresh(preset: str = "swift", seed: int = 0) -> RiskTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RiskTransformer(preset_config(preset, FIELDS))


def weights(network: RiskTransformer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("preset", ["swift", "tiny"])
def test_it_learns_a_rule_of_two_fields(preset):
    network, test = fresh(preset), ruled_lesson(1500, seed=3)
    log = train(
        network,
        ruled_lesson(1500, seed=1),
        held_out=ruled_lesson(300, seed=2),
        config=TrainingConfig(epochs=4, batch=64),
        seed=0,
    )
    assert auc_interval(test.targets, predict_logits(network, test.lookups)).lo > 0.8
    assert log.losses[-1] < log.losses[0]
    assert len(log.losses) == len(log.scores) <= 4
    assert log.steps == len(log.losses) * 24


def test_a_taught_student_beats_an_untaught_one():
    test = ruled_lesson(4000, seed=3)
    scores = {}
    for taught in (False, True):
        network = fresh()
        lesson, held_out = (ruled_lesson(rows, seed=rows, taught=taught) for rows in (300, 100))
        train(network, lesson, held_out=held_out, config=TrainingConfig(epochs=12, batch=32), seed=0)
        scores[taught] = predict_logits(network, test.lookups)
    assert auc_difference(test.targets, scores[False], scores[True]).lo > 0


def test_a_seed_fixes_every_weight_whatever_the_threads():
    lesson, held_out = ruled_lesson(2800, seed=1, taught=True), ruled_lesson(100, seed=2, taught=True)
    found = []
    for seed, threads in ((0, 1), (0, 1), (0, 2), (0, 3), (1, 1)):
        network = fresh()
        config = TrainingConfig(epochs=1, batch=700, threads=threads)
        train(network, lesson, held_out=held_out, config=config, seed=seed)
        found.append(weights(network))
    assert all(same(found[0], other) for other in found[1:4])
    assert not same(found[0], found[4])


@pytest.mark.parametrize("preset", ["swift", "tiny"])
def test_a_step_in_parts_is_the_step_as_a_whole(preset, monkeypatch):
    lesson = ruled_lesson(1200, seed=1, taught=True)
    found = []
    for rows in (50, 10_000):
        monkeypatch.setattr(training_loop, "PART_ROWS", dict.fromkeys(("mlp", "transformer"), rows))
        network = fresh(preset)
        train(network, lesson, held_out=lesson, config=TrainingConfig(epochs=2, batch=300, threads=1), seed=0)
        found.append(predict_logits(network, lesson.lookups))
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


def test_the_callers_random_numbers_and_threads_stay_as_they_were():
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(fresh(), ruled_lesson(50, seed=1), held_out=ruled_lesson(20, seed=2), config=SHORT, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_the_best_epoch_is_kept_and_patience_ends_the_rest():
    rng = np.random.default_rng(1)
    noise = Lesson(ruled_lesson(200, seed=1).lookups, rng.integers(0, 2, 200).astype(np.float32))
    held_out = Lesson(ruled_lesson(200, seed=2).lookups, rng.integers(0, 2, 200).astype(np.float32))
    network = fresh()
    config = TrainingConfig(epochs=40, batch=32, learning_rate=0.02, patience=2, threads=1)
    log = train(network, noise, held_out=held_out, config=config, seed=0)
    assert len(log.scores) == log.best_epoch + 2 < 40
    assert log.scores[log.best_epoch - 1] == max(log.scores)
    logits = torch.from_numpy(predict_logits(network, held_out.lookups))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(held_out.targets))
    assert -loss.item() == pytest.approx(max(log.scores), abs=1e-6)
    assert not network.training


def test_the_score_is_the_loss_that_is_learned():
    taught, untaught = ruled_lesson(200, seed=2, taught=True), ruled_lesson(200, seed=2)
    unlabelled = replace(taught, targets=np.full(200, np.nan, dtype=np.float32))
    scores = {}
    for name, lesson, held_out in (
        ("both", taught, taught),
        ("outcomes only", taught, untaught),
        ("teacher only", taught, unlabelled),
        ("untaught", untaught, taught),
    ):
        network = made_network("swift", FIELDS)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        network.head.bias.requires_grad_(True)
        config = TrainingConfig(epochs=1, batch=64, learning_rate=1e-9, threads=1)
        scores[name] = train(network, lesson, held_out=held_out, config=config, seed=0).scores[0]
    assert scores["both"] == pytest.approx(scores["teacher only"] + 0.3 * scores["outcomes only"], abs=1e-5)
    assert scores["outcomes only"] == pytest.approx(scores["untaught"], abs=1e-5)


def test_a_regression_learns_values_in_the_targets_unit():
    lesson, test = ruled_lesson(1500, seed=1, taught=True), ruled_lesson(500, seed=3, taught=True)
    assert lesson.teacher is not None
    assert test.teacher is not None
    values, network = (lesson.teacher - lesson.teacher.mean()) / lesson.teacher.std(), fresh()
    wanted = (test.teacher - lesson.teacher.mean()) / lesson.teacher.std()
    config = TrainingConfig(epochs=6, batch=64)
    for teacher in (None, values):
        known = Lesson(lesson.lookups, values, teacher)
        log = train(
            network, known, held_out=Lesson(test.lookups, wanted), config=config, seed=0, objective="regression"
        )
        error = predict_logits(network, test.lookups) - wanted
        assert np.mean(error**2) < 0.3
        assert -max(log.scores) == pytest.approx(np.mean(error**2), rel=1e-3)


def test_rows_without_an_outcome_are_passed_over():
    lesson = ruled_lesson(600, seed=1)
    holes = lesson.targets.copy()
    holes[::2] = np.nan
    log = train(fresh(), replace(lesson, targets=holes), held_out=ruled_lesson(100, seed=2), config=SHORT, seed=0)
    assert np.isfinite(log.losses).all()


@pytest.mark.parametrize("preset", ["swift", "tiny"])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_a_handful_of_rows_is_enough_to_run(preset, rows):
    lesson = ruled_lesson(rows, seed=1, taught=True)
    network = fresh(preset)
    log = train(network, lesson, held_out=ruled_lesson(2, seed=2, taught=True), config=SHORT, seed=0)
    assert np.isfinite([*log.losses, *log.scores]).all()
    assert np.isfinite(predict_logits(network, lesson.lookups)).all()


def test_frozen_parts_stay_and_the_rest_learns():
    network = fresh("tiny")
    network.table.weight.requires_grad_(False)
    before = weights(network)
    train(network, ruled_lesson(200, seed=1), held_out=ruled_lesson(50, seed=2), config=SHORT, seed=0)
    after = weights(network)
    assert torch.equal(before["table.weight"], after["table.weight"])
    assert not torch.equal(before["head.weight"], after["head.weight"])


@PEFT_LAGS_BEHIND
def test_an_adapter_is_taught_like_a_network():
    import peft

    network = made_network("tiny", FIELDS)
    before = weights(network)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query_key_value"], bias="none")
    adapted = peft.get_peft_model(network, settings)
    log = train(adapted, ruled_lesson(300, seed=1), held_out=ruled_lesson(100, seed=2), config=SHORT, seed=0)
    assert log.losses[-1] < log.losses[0]
    after = {name.replace(".base_layer", ""): p for name, p in network.named_parameters() if "lora" not in name}
    assert same(before, after)


def test_a_teacher_that_says_nothing_is_refused():
    lesson = ruled_lesson(20, seed=1, taught=True)
    for wrong in (np.nan, np.inf):
        assert lesson.teacher is not None
        teacher = lesson.teacher.copy()
        teacher[3] = wrong
        with pytest.raises(ModelError, match="finite"):
            replace(lesson, teacher=teacher)


def test_scores_of_other_rows_are_refused():
    lesson = ruled_lesson(20, seed=1)
    with pytest.raises(ModelError, match=r"teacher .*\(19,\).* 20 rows"):
        replace(lesson, teacher=np.zeros(19, dtype=np.float32))
    with pytest.raises(ModelError, match="targets"):
        replace(lesson, targets=np.zeros((20, 1), dtype=np.float32))


def test_a_lesson_without_any_opinion_is_refused():
    lesson = ruled_lesson(20, seed=1)
    with pytest.raises(ModelError, match="neither"):
        replace(lesson, targets=np.full(20, np.nan, dtype=np.float32))
    with pytest.raises(ModelError, match="neither"):
        Lesson(Encoder(FIELDS).lookups(made_inputs(FIELDS, 0)), np.zeros(0, dtype=np.float32))


def test_a_loss_that_is_no_number_stops_the_training():
    lesson = replace(ruled_lesson(40, seed=1), targets=np.full(40, 1e30, dtype=np.float32))
    with pytest.raises(ModelError, match="finite loss"):
        train(fresh(), lesson, held_out=lesson, config=SHORT, seed=0, objective="regression")


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch": 0},
        {"patience": 0},
        {"threads": 0},
        {"learning_rate": 0.0},
        {"temperature": 0.0},
        {"teacher_weight": -0.1},
        {"teacher_weight": 0.0, "label_weight": 0.0},
        {"averaging": 1.0},
        {"warmup": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        TrainingConfig(**settings)
