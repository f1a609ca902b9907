"""The engine of pairs learns what there is to learn, the same for a seed, and refuses what it cannot use."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.evaluate.delong import auc_difference, auc_interval
from leanrisk.models.opinion_cache import array_digest, cached_opinions
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import PairLesson, TensorBatches
from leanrisk.models.pair_training import Answer, answers, teach
from tests.models.pairs import WIDTH, Network, made, ruled, with_state

SHORT = PairConfig(epochs=3, batch=64)
LONG = PairConfig(epochs=15, batch=64, learning_rate=1e-2, patience=15)


def learned(config=SHORT, *, seed=0, classes=None, lesson=None, held_out=None, **options):
    network = made(classes, seed=1)
    kinds = classes or 2
    log = teach(
        network,
        lesson or ruled(600, seed=1, classes=kinds),
        held_out=held_out or ruled(200, seed=2, classes=kinds),
        config=config,
        seed=seed,
        **options,
    )
    return network, log


def states_of(network):
    return {name: values.clone() for name, values in network.state_dict().items()}


def same(one, other):
    return all(torch.equal(values, other[name]) for name, values in one.items())


def test_outcomes_alone_teach_a_rule_of_two_fields():
    network, log = learned(LONG, lesson=ruled(1500, seed=1))
    test = ruled(2000, seed=3)
    logits, states = answers(network, test.batches)
    assert logits.shape == (2000,)
    assert states is None
    assert auc_interval(test.labels.numpy(), logits).lo > 0.9
    assert log.losses[-1] < log.losses[0]
    assert log.ended == "epochs"
    assert log.steps == 15 * 24
    assert not network.training


def test_three_classes_are_learned():
    network, _ = learned(LONG, classes=3, lesson=ruled(1500, seed=1, classes=3))
    test = ruled(2000, seed=3, classes=3)
    logits, _ = answers(network, test.batches)
    right = (logits.argmax(axis=1) == test.labels.numpy()).mean()
    assert right - 3 * np.sqrt(right * (1 - right) / 2000) > 0.6


def test_a_taught_student_beats_an_untaught_one_on_few_noisy_outcomes():
    test, scores = ruled(4000, seed=3), {}
    for taught in (False, True):
        lesson, held_out = (ruled(rows, seed=rows, noise=0.5, taught=taught) for rows in (300, 100))
        network, _ = learned(LONG, lesson=lesson, held_out=held_out)
        scores[taught], _ = answers(network, test.batches)
    assert auc_difference(test.labels.numpy(), scores[False], scores[True]).lo > 0


def test_a_seed_fixes_every_weight_and_leaves_the_world_alone():
    world = torch.get_rng_state()
    first, again, other = (states_of(learned(seed=seed)[0]) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    assert torch.equal(world, torch.get_rng_state())


def test_the_best_epoch_is_kept_with_its_buffers():
    # A held-out part that contradicts the lesson: the first epoch is the best, and patience ends the training.
    lesson, held_out = ruled(600, seed=1), ruled(200, seed=2)
    held_out = replace(held_out, labels=1 - held_out.labels)
    config = replace(LONG, patience=2, warmup=0.0)
    network, log = learned(config, lesson=lesson, held_out=held_out)
    assert log.ended == "patience"
    assert log.best_epoch == int(np.argmin(log.held_out)) + 1
    assert len(log.held_out) == log.best_epoch + 2
    logits, _ = answers(network, held_out.batches)
    loss = nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), held_out.labels)
    assert float(loss) == pytest.approx(min(log.held_out), abs=1e-5)


@pytest.mark.parametrize(("limit", "ended"), [({"steps": 7}, "steps"), ({"seconds": 1e-6}, "seconds")])
def test_a_budget_ends_the_training_with_a_usable_network(limit, ended):
    network, log = learned(replace(SHORT, **limit))
    assert log.ended == ended
    assert log.steps == limit.get("steps", 1)
    assert np.isfinite(answers(network, ruled(10, seed=1).batches)[0]).all()


def test_class_weights_shift_the_answers_towards_the_dear_class():
    plain, _ = learned(LONG)
    dear, _ = learned(replace(LONG, class_weights=(1.0, 20.0)))
    test = ruled(1000, seed=3)
    assert answers(dear, test.batches)[0].mean() > answers(plain, test.batches)[0].mean() + 0.5


def test_a_hint_brings_the_states_nearer_and_leaves_no_map_behind():
    lesson = ruled(600, seed=1)
    values = lesson.batches.take(torch.arange(600))["values"].numpy()
    # A state that the outcome alone has no reason to learn.
    hints = np.tanh(values[:, 2:5]).astype(np.float32)
    hinted = replace(lesson, hints=hints)
    shares = {}
    for weight in (0.0, 5.0):
        network, _ = learned(replace(LONG, hint_weight=weight), lesson=hinted, ask=with_state)
        assert set(network.state_dict()) == set(made().state_dict())
        _, states = answers(network, lesson.batches, ask=with_state)
        map_, *_ = np.linalg.lstsq(np.c_[states, np.ones(600)], hints, rcond=None)
        shares[weight] = 1 - np.var(hints - np.c_[states, np.ones(600)] @ map_) / np.var(hints)
    assert shares[5.0] > shares[0.0] + 0.05


def test_bf16_learns_too_and_leaves_fp32_weights():
    network, log = learned(replace(LONG, precision="bf16"))
    assert {values.dtype for values in network.parameters()} == {torch.float32}
    assert log.held_out[-1] < log.held_out[0]


def test_a_last_batch_of_one_row_joins_the_one_before():
    _, log = learned(lesson=ruled(129, seed=1))
    assert log.steps == 3 * 2


def test_rows_without_an_outcome_learn_from_the_teacher():
    lesson = ruled(600, seed=1, taught=True)
    network, _ = learned(LONG, lesson=replace(lesson, labels=torch.full((600,), float("nan"))))
    test = ruled(2000, seed=3)
    assert auc_interval(test.labels.numpy(), answers(network, test.batches)[0]).lo > 0.8


def test_a_hugging_face_output_is_read():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = made(2)

        def forward(self, values):
            from transformers.modeling_outputs import SequenceClassifierOutput

            return SequenceClassifierOutput(logits=self.inner(values))

    network = Wrapped()
    teach(network, ruled(100, seed=1), held_out=ruled(50, seed=2), config=SHORT, seed=0)
    assert answers(network, ruled(10, seed=1).batches)[0].shape == (10, 2)


class Interrupting:
    """Progress whose user presses Ctrl-C at the third step."""

    def __init__(self):
        self.closed = False
        self.steps = 0

    @contextlib.contextmanager
    def track(self, what, total=None):
        try:
            yield self.advance
        finally:
            self.closed = True

    def advance(self, steps):
        self.steps += 1
        if self.steps == 3:
            raise KeyboardInterrupt

    def say(self, message):
        raise AssertionError(message)


def test_ctrl_c_ends_the_training_cleanly():
    network, progress = made(), Interrupting()
    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        teach(network, ruled(600, seed=1), held_out=ruled(50, seed=2), config=SHORT, seed=0, progress=progress)
    assert progress.closed
    assert not network.training
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": np.zeros(100, np.float32)}, "tell rows apart"),
        ({"teacher": np.r_[np.arange(99), np.nan].astype(np.float32)}, "must be finite"),
        ({"teacher": np.arange(99, dtype=np.float32)}, "must align with the rows"),
        ({"hints": np.ones((100, 3), np.float32)}, "tell rows apart"),
        ({"hints": np.arange(100, dtype=np.float32)}, r"\(rows, width\)"),
        ({"labels": torch.zeros(99)}, "labels must align"),
        ({"labels": torch.full((100,), float("nan"))}, "neither"),
        ({"batches": TensorBatches({"values": torch.zeros(0, WIDTH)})}, "needs rows"),
    ],
    ids=["constant", "nan", "misaligned", "constant-hints", "flat-hints", "labels", "nothing", "empty"],
)
def test_a_lesson_that_cannot_teach_is_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        replace(ruled(100, seed=1), **changes)


def test_inputs_of_different_lengths_are_refused():
    with pytest.raises(ModelError, match="same rows"):
        TensorBatches({"one": torch.zeros(3), "other": torch.zeros(4)})


@pytest.mark.parametrize(
    ("classes", "lesson", "config", "message"),
    [
        (3, ruled(100, seed=1, taught=True), SHORT, "same classes"),
        (None, ruled(100, seed=1, classes=3), SHORT, "class numbers from 0 to 1"),
        (3, ruled(100, seed=1, classes=3), replace(SHORT, class_weights=(1.0, 2.0)), "one weight for each class"),
    ],
    ids=["classes", "labels", "weights"],
)
def test_a_network_that_does_not_fit_its_lesson_is_refused(classes, lesson, config, message):
    with pytest.raises((ModelError, ConfigError), match=message):
        teach(made(classes), lesson, held_out=lesson, config=config, seed=0)


def test_a_hint_without_a_state_and_an_answer_of_another_shape_are_refused():
    lesson = replace(ruled(100, seed=1), hints=np.random.default_rng(0).random((100, 3)).astype(np.float32))
    with pytest.raises(ModelError, match="pooled state"):
        teach(made(), lesson, held_out=lesson, config=replace(SHORT, hint_weight=1.0), seed=0)
    with pytest.raises(ModelError, match="logits"):
        teach(
            made(),
            ruled(100, seed=1),
            held_out=ruled(100, seed=1),
            config=SHORT,
            seed=0,
            ask=lambda network, inputs: Answer(network(**inputs)[:1]),
        )


def test_a_loss_that_is_no_number_is_refused():
    lesson = ruled(100, seed=1)
    broken = PairLesson(TensorBatches({"values": torch.full((100, WIDTH), float("nan"))}), lesson.labels)
    with pytest.raises(ModelError, match="finite loss"):
        teach(Network(), broken, held_out=lesson, config=SHORT, seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"steps": 0},
        {"seconds": 0.0},
        {"learning_rate": 1.5},
        {"warmup": 1.0},
        {"hint_weight": -1.0},
        {"teacher_weight": 0.0, "label_weight": 0.0},
        {"class_weights": (1.0, 0.0)},
        {"precision": "int8"},
        {"clip": float("nan")},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match="pair"):
        PairConfig(**wrong)


def test_opinions_are_asked_for_once_and_never_taken_for_others(tmp_path):
    asked = []

    def make():
        asked.append(1)
        return np.arange(6, dtype=np.float32).reshape(3, 2)

    for _ in range(2):
        values = cached_opinions(tmp_path, teacher="t", data="d", rows=3, what="logits", make=make)
        assert values.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert len(asked) == 1
    for teacher, data, what in (("u", "d", "logits"), ("t", "e", "logits"), ("t", "d", "states")):
        cached_opinions(tmp_path, teacher=teacher, data=data, rows=3, what=what, make=make)
    assert len(asked) == 4
    cached_opinions(None, teacher="t", data="d", rows=3, what="logits", make=make)
    assert len(asked) == 5
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda raw: raw[:40], lambda raw: raw[:-1] + b"x", lambda raw: b""])
def test_damaged_opinions_are_made_again(tmp_path, damage):
    make = lambda: np.ones((3, 2), np.float32)  # noqa: E731
    cached_opinions(tmp_path, teacher="t", data="d", rows=3, what="logits", make=make)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert cached_opinions(tmp_path, teacher="t", data="d", rows=3, what="logits", make=make).shape == (3, 2)
    assert file.read_bytes() == whole


def test_a_digest_tells_values_shapes_and_dtypes_apart():
    zeros = np.zeros((2, 3), np.float32)
    digests = [array_digest(a) for a in (zeros, zeros.T, zeros.astype(np.float64), zeros + 1)]
    assert len(set(digests)) == 4
    assert array_digest(zeros) == digests[0]
