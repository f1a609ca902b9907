"""Small text models: taught by any teacher, as the network says, safe on disk, and honest about what they read."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.text.distillation import TextConfig, distill_text
from leanrisk.models.text.graph import check_text_parity, text_graph
from leanrisk.models.text.network import TextBody, parameters_of, student_network
from leanrisk.models.text.scoring import TextModel
from leanrisk.models.text.teacher import TeacherConfig
from tests.models.complaints import Rule, made_up
from tests.models.texts import saved_text_model

BAG = TextConfig(
    body=TextBody(kind="bag", width=8, pairs=512),
    vocabulary=300,
    longest=16,
    training=PairConfig(epochs=15, batch=32, learning_rate=0.02),
)
ENCODER = replace(
    BAG, body=TextBody(width=64, depth=1), training=PairConfig(epochs=6, batch=32, learning_rate=3e-3), copies=1
)
TEXTS, LABELS = made_up(300)
FRESH, TRUTH = made_up(200, seed=9)


@pytest.fixture(scope="module")
def model():
    return distill_text(TEXTS, LABELS, config=BAG, seed=1)


@pytest.mark.parametrize("config", [BAG, ENCODER], ids=["bag", "encoder"])
def test_outcomes_alone_teach_it(config):
    model = distill_text(TEXTS, LABELS, config=config, seed=1)
    assert model.classes == ("bad", "good")
    assert np.mean(model.predict(FRESH) == np.array(TRUTH)) > 0.9
    assert model.facts["taught_by"] == "outcomes"
    assert model.facts["copies"] == 0


def test_a_teacher_alone_teaches_texts_without_outcomes():
    labels = [*LABELS[:30], *[None] * 270]
    alone = distill_text(TEXTS[:30], LABELS[:30], config=BAG, seed=1)
    taught = distill_text(TEXTS, labels, teacher=Rule(), config=BAG, seed=1)
    right = [float(np.mean(one.predict(FRESH) == np.array(TRUTH))) for one in (alone, taught)]
    assert right[1] > max(right[0], 0.9)
    assert taught.facts["copies"] == 2 * taught.facts["texts"]


def test_opinions_may_come_as_an_array():
    given = distill_text(TEXTS, [*LABELS[:30], *[None] * 270], teacher=Rule().predict_proba(TEXTS), config=BAG, seed=1)
    assert np.mean(given.predict(FRESH) == np.array(TRUTH)) > 0.9
    assert given.facts["copies"] == 0


@pytest.mark.parametrize("kind", ["bert", "llama", "deepseek_v3"])
def test_a_local_folder_teaches(tmp_path, kind):
    folder = saved_text_model(tmp_path, kind)
    teacher = TeacherConfig(longest=16, training=PairConfig(epochs=1, batch=32, learning_rate=1e-3))
    model = distill_text(TEXTS[:120], LABELS[:120], teacher=folder, config=replace(BAG, copies=0, teacher=teacher))
    assert model.facts["taught_by"] == "teacher and outcomes"
    assert np.isfinite(model.predict_proba(FRESH)).all()


def test_equal_seeds_give_equal_bytes(model):
    assert distill_text(TEXTS, LABELS, config=BAG, seed=1).graph == model.graph
    assert distill_text(TEXTS, LABELS, config=BAG, seed=2).graph != model.graph


def test_a_text_has_the_same_bits_alone_as_among_others(model):
    whole = model.predict_proba(FRESH)
    assert all(np.array_equal(model.predict_proba([text])[0], whole[row]) for row, text in enumerate(FRESH[:40]))
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-6)
    assert model.predict_proba([]).shape == (0, 2)


def test_what_cannot_be_read_has_the_shares_and_no_log_odds(model):
    texts = ["", None, "Кредит просрочен", "\x00", "late loan default"]
    assert (model.predict_proba(texts)[:4] == model.shares).all()
    assert model.shares.sum() == pytest.approx(1)
    odds = model.log_odds(texts)
    assert np.isnan(odds).tolist() == [True] * 4 + [False]
    assert model.read(texts).counts == {"texts": 5, "empty": 3, "cut": 0, "foreign": 1}


def test_log_odds_are_those_of_the_second_class(model):
    probability = model.predict_proba(FRESH)[:, 1].astype(np.float64)
    assert np.allclose(1 / (1 + np.exp(-model.log_odds(FRESH).astype(np.float64))), probability, atol=1e-5)
    three = [*LABELS[:200], *["other"] * 100]
    with pytest.raises(ConfigError, match="two classes"):
        distill_text(TEXTS, three, config=replace(BAG, training=PairConfig(epochs=1))).log_odds(TEXTS)


def test_it_survives_the_disk_and_needs_no_training_library(model, tmp_path):
    model.save(tmp_path / "model")
    names = sorted(file.name for file in (tmp_path / "model").iterdir())
    assert names == ["manifest.json", "model.onnx", "text.json", "tokenizer.json"]
    again = TextModel.load(tmp_path / "model")
    assert np.array_equal(again.predict_proba(FRESH), model.predict_proba(FRESH))
    assert (again.classes, dict(again.facts)) == (model.classes, dict(model.facts))
    assert 0 < model.size_bytes <= sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
    code = (
        "import sys; from leanrisk import TextModel; "
        f"print(TextModel.load({str(tmp_path / 'model')!r}).predict_proba(['late loan']).shape); "
        "assert not {'torch', 'transformers', 'pandas', 'lightgbm', 'onnx'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "(1, 2)\n"


def test_a_copy_for_another_process_answers_the_same(model):
    model.predict_proba(["late"])
    copied = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copied.predict_proba(FRESH[:5]), model.predict_proba(FRESH[:5]))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "text.json", "manifest.json"])
def test_an_altered_or_missing_file_is_refused(model, tmp_path, name):
    model.save(tmp_path / "model")
    file = tmp_path / "model" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="text model"):
        TextModel.load(tmp_path / "model")
    file.unlink()
    with pytest.raises(ModelError, match="not whole"):
        TextModel.load(tmp_path / "model")


@pytest.mark.parametrize("body", [BAG.body, ENCODER.body], ids=["bag", "encoder"])
def test_the_graph_answers_as_the_network_and_another_one_is_caught(body):
    first, other = (student_network(body, pieces=50, longest=16, labels=3, seed=seed).eval() for seed in (1, 2))
    tokens = np.random.default_rng(0).integers(1, 50, (12, 16))
    tokens[3, 5:] = tokens[4, 1:] = 0
    graph = text_graph(first, temperature=1.5)
    assert check_text_parity(graph, first, tokens, temperature=1.5) < 1e-5
    with pytest.raises(ModelError, match="must agree"):
        check_text_parity(graph, other, tokens, temperature=1.5)


def test_other_architectures_have_no_graph():
    with pytest.raises(ModelError, match="BERT's layout"):
        text_graph(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("body", [TextBody(), TextBody(kind="bag", width=32)], ids=["encoder", "bag"])
def test_a_student_has_about_three_million_parameters(body):
    network = student_network(body, pieces=8000, longest=128, labels=3, seed=0)
    assert 2.7e6 < parameters_of(network) < 3.3e6


@pytest.mark.parametrize(
    ("opinions", "said"),
    [
        (np.full((300, 2), np.nan), "sum to 1"),
        (np.full((300, 2), 0.9), "sum to 1"),
        (np.full((299, 2), 0.5), r"\(299, 2\)"),
        (np.full((300, 3), 1 / 3), r"\(300, 3\)"),
        (np.full((300, 2), 0.5), "tell rows apart"),
    ],
)
def test_opinions_that_mean_nothing_are_refused(opinions, said):
    with pytest.raises(ModelError, match=said):
        distill_text(TEXTS, LABELS, teacher=opinions, config=BAG)


def test_labels_and_texts_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="align"):
        distill_text(TEXTS, LABELS[:-1], config=BAG)
    with pytest.raises(ConfigError, match="two or more"):
        distill_text(TEXTS, ["bad"] * 300, config=BAG)
    with pytest.raises(ConfigError, match="one type"):
        distill_text(TEXTS, [1, *LABELS[1:]], config=BAG)
    with pytest.raises(ConfigError, match="neither"):
        distill_text(TEXTS, [0.5, *LABELS[1:]], config=BAG)  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="predict_proba"):
        distill_text(TEXTS, LABELS, teacher=object(), config=BAG)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not-a-text"):
        distill_text([3, *TEXTS[1:]], LABELS, config=BAG)  # type: ignore[list-item]
    with pytest.raises(ModelError, match="two rows at least"):
        distill_text(TEXTS[:3], ["bad", "good", "good"], config=BAG)


def test_a_single_text_in_place_of_a_list_is_refused(model):
    with pytest.raises(ConfigError, match="square brackets"):
        model.predict_proba("late loan")
