"""Images from a teacher to a student that scores: what is learned, what a graph answers, and what is refused."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.core.files import sha256_of
from leanrisk.models.image.batches import ImageBatches, Spread
from leanrisk.models.image.check import ImageShape
from leanrisk.models.image.distillation import ImageConfig, distill_image
from leanrisk.models.image.graph import check_image_parity, image_graph
from leanrisk.models.image.network import RESNET_50, ImageBody, ask_image, image_network
from leanrisk.models.image.scoring import ImageModel
from leanrisk.models.image.session import ImageSession
from leanrisk.models.image.teacher import ImageTeacherConfig, load_image_network, taught_image_teacher
from tests.models.pictures import QUICK, SIDE, SMALL_MOBILENET, SMALL_RESNET, TEACHER, pictures, saved_image_model

CONFIG = ImageConfig(body=SMALL_RESNET, training=QUICK, teacher=TEACHER)
SHAPE = ImageShape(2, SIDE, SIDE)


@pytest.fixture(scope="module")
def teacher():
    images, labels = pictures(160, seed=1)
    judges, known = pictures(60, seed=2)
    return taught_image_teacher(
        images, np.array(labels), held_out=(judges, np.array(known)), labels=2, config=TEACHER, seed=0
    )


@pytest.fixture(scope="module")
def model(teacher):
    return distill_image(*pictures(160, seed=1), teacher=teacher, config=CONFIG)


def right(model, rows=200):
    images, labels = pictures(rows, seed=9)
    return (model.predict_proba(images).argmax(axis=1) == labels).mean()


def test_teacher_and_student_tell_stripes_apart(teacher, model):
    assert right(teacher) > 0.9
    assert right(model) > 0.9
    assert model.facts["taught_by"] == "teacher and outcomes"
    assert model.facts["images"] == 144
    assert model.facts["parity"] <= 1e-5
    assert model.classes == (0, 1)


def test_a_mobilenet_learns_from_outcomes_alone():
    config = replace(CONFIG, body=SMALL_MOBILENET, training=replace(QUICK, epochs=12, batch=16, patience=12))
    taught = distill_image(*pictures(240, seed=1), config=config)
    assert right(taught) > 0.8
    assert taught.facts["taught_by"] == "outcomes"


def test_a_student_of_the_teacher_alone_needs_no_labels(teacher):
    images, labels = pictures(200, seed=1)
    some = [label if row < 20 else None for row, label in enumerate(labels)]
    taught = distill_image(images, some, teacher=teacher, config=replace(CONFIG, training=replace(QUICK, epochs=6)))
    assert taught.facts["unlabelled"] == 180
    assert right(taught) > 0.9


def test_hints_and_kept_opinions(teacher, tmp_path):
    hinted = replace(CONFIG, training=replace(QUICK, hint_weight=0.5), cache=str(tmp_path))
    first = distill_image(*pictures(160, seed=1), teacher=teacher, config=hinted)
    kept = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(kept) == 2
    again = distill_image(*pictures(160, seed=1), teacher=teacher, config=hinted)
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == kept
    assert first.graph == again.graph
    plain = distill_image(*pictures(160, seed=1), teacher=teacher, config=CONFIG)
    assert plain.graph != first.graph


def test_an_array_of_opinions_and_another_model_teach_too(teacher, model):
    images, labels = pictures(120, seed=1)
    words = ["bad" if label else "good" for label in labels]
    from_array = distill_image(images, words, teacher=teacher.predict_proba(images), config=CONFIG)
    assert from_array.classes == ("bad", "good")
    assert set(from_array.predict(images)) <= {"bad", "good"}
    assert distill_image(images, labels, teacher=model, config=CONFIG).facts["taught_by"] == "teacher and outcomes"


def test_three_classes():
    taught = distill_image(*pictures(240, seed=1, classes=3), config=replace(CONFIG, balanced=True))
    images, labels = pictures(200, seed=9, classes=3)
    assert (taught.predict(images) == labels).mean() > 0.8
    with pytest.raises(ConfigError, match="two classes"):
        taught.log_odds(images)


def test_log_odds_and_probabilities_agree(model):
    images, _ = pictures(5, seed=3)
    chances = model.predict_proba(images)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
    clipped = np.clip(chances[:, 1].astype(float), 1e-6, 1 - 1e-6)
    np.testing.assert_allclose(model.log_odds(images), np.log(clipped / (1 - clipped)), rtol=1e-4)


def test_an_image_has_the_same_bits_alone_and_as_floats(model):
    images, _ = pictures(7, seed=3)
    whole = model.predict_proba(images)
    assert np.array_equal(np.concatenate([model.predict_proba(images[row : row + 1]) for row in range(7)]), whole)
    assert np.array_equal(model.predict_proba(images.astype(np.float32) / np.float32(255)), whole)
    assert np.array_equal(model.predict_proba(images[::-1]), whole[::-1])
    assert model.predict_proba(images[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda images: images[:, :1], "image-channels"),
        (lambda images: images.transpose(0, 2, 3, 1), "image-channels"),
        (lambda images: images[:, :, :16], "image-size"),
        (lambda images: images[0], "image-shape"),
        (lambda images: images.astype(np.int64), "image-dtype"),
        (lambda images: images.tolist(), "image-dtype"),
        (lambda images: images.astype(np.float32), "image-range"),
        (lambda images: images / 255 - 0.5, "image-range"),
        (lambda images: np.where(images == images[1, 0, 0, 0], np.nan, images / 255), "image-not-finite"),
        (lambda images: images / np.float32(255) + np.float32("inf"), "image-not-finite"),
    ],
    ids=["channels", "channels-last", "size", "one", "int", "list", "0-255-floats", "centred", "nan", "inf"],
)
def test_an_image_that_is_none_is_refused_by_name(model, teacher, spoil, code):
    spoiled = spoil(pictures(4, seed=3)[0])
    for refuses in (model.predict_proba, teacher.predict_proba):
        with pytest.raises(DataError) as caught:
            refuses(spoiled)
        assert [fault.code for fault in caught.value.faults] == [code]


def test_a_model_is_saved_and_loaded_whole(model, tmp_path):
    model.save(tmp_path / "m")
    loaded = ImageModel.load(tmp_path / "m")
    images, _ = pictures(5, seed=3)
    assert np.array_equal(loaded.predict_proba(images), model.predict_proba(images))
    assert (loaded.classes, loaded.shape, loaded.facts) == (model.classes, model.shape, model.facts)
    whole = sum(file.stat().st_size for file in (tmp_path / "m").iterdir() if file.name != "manifest.json")
    assert abs(whole - loaded.size_bytes) < 500
    copied = copy.deepcopy(loaded)
    assert np.array_equal(copied.predict_proba(images), model.predict_proba(images))


def test_scoring_loads_no_training_library(model, tmp_path):
    model.save(tmp_path / "m")
    np.save(tmp_path / "images.npy", pictures(3, seed=3)[0])
    code = (
        "import sys, numpy as np\nfrom leanrisk.models.image.scoring import ImageModel\n"
        f"print(ImageModel.load(r'{tmp_path / 'm'}').predict_proba(np.load(r'{tmp_path / 'images.npy'}')).shape)\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'pandas', 'lightgbm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(3, 2)", "[]"]


def graph_of(*nodes, inputs=(2, SIDE, SIDE), output="probability"):
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "made",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", *inputs])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    ).SerializeToString()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (b"no graph", "must load in ONNX Runtime"),
        (graph_of(helper.make_node("Invented", ["image"], ["probability"])), "must load in ONNX Runtime"),
        (graph_of(helper.make_node("Relu", ["image"], ["probability"]), inputs=(3,)), "reads 'image' of floats"),
        (graph_of(helper.make_node("Relu", ["image"], ["other"]), output="other"), "answers 'probability'"),
        (graph_of(helper.make_node("Relu", ["image"], ["probability"]), inputs=(2, 8, 8)), "images of its shape"),
        (graph_of(helper.make_node("Relu", ["image"], ["probability"])), "knows its classes"),
    ],
    ids=["bytes", "operator", "matrix", "output", "size", "classes"],
)
def test_a_strange_graph_is_refused_even_with_good_checksums(model, tmp_path, graph, message):
    model.save(tmp_path / "m")
    (tmp_path / "m" / "model.onnx").write_bytes(graph)
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = sha256_of(tmp_path / "m" / "model.onnx")
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=message):
        ImageModel.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"altered", "'model.onnx' was altered"),
        ("image.json", b"{}", "'image.json' was altered"),
        ("manifest.json", b'{"format": 9, "files": {}}', "format 1"),
        ("manifest.json", b"[", "not whole"),
        ("model.onnx", None, "not whole"),
        ("manifest.json", None, "not whole"),
    ],
    ids=["graph", "facts", "format", "broken", "no-graph", "no-manifest"],
)
def test_an_altered_folder_is_refused(model, tmp_path, name, content, message):
    model.save(tmp_path / "m")
    file = tmp_path / "m" / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        ImageModel.load(tmp_path / "m")


@pytest.mark.parametrize("body", [SMALL_RESNET, SMALL_MOBILENET, ImageBody("resnet", 0.1, (2, 1, 1, 1))], ids=str)
def test_a_graph_answers_as_its_network(body):
    images, _ = pictures(12, seed=4)
    network = image_network(body, channels=2, size=SIDE, labels=3, seed=0)
    network.train()
    spread = Spread((0.4, 0.5), (0.3, 0.2))
    inputs = ImageBatches(images, spread).take(torch.arange(12))
    # Normalisations whose statistics are not those of a new network.
    with torch.no_grad():
        network(**inputs)
    graph = image_graph(network, SHAPE, spread=spread, temperature=1.7)
    assert check_image_parity(graph, network, images, spread=spread, temperature=1.7) < 1e-6
    with torch.no_grad():
        answer = ask_image(network.train(False), inputs)
        torch.testing.assert_close(answer.logits, network(**inputs).logits)
    assert answer.state is not None
    assert answer.state.dim() == 2
    with pytest.raises(ModelError, match="must agree"):
        check_image_parity(graph, network, images, spread=spread, temperature=0.2)


def test_the_source_pair_has_its_sizes():
    sizes = {}
    for name, body in (("teacher", RESNET_50), ("student", ImageBody())):
        network = image_network(body, channels=3, size=64, labels=1000, seed=0)
        sizes[name] = sum(parameter.numel() for parameter in network.parameters())
    assert sizes == {"teacher": 25_557_032, "student": 3_504_872}


def test_a_seed_draws_the_network():
    first, again, other = (
        image_network(SMALL_MOBILENET, channels=1, size=SIDE, labels=2, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(values, again[name]) for name, values in first.items())
    assert not all(torch.equal(values, other[name]) for name, values in first.items())


@pytest.mark.parametrize("kind", ["resnet", "mobilenet_v2", "vit"])
def test_a_local_folder_teaches(tmp_path, kind):
    folder = saved_image_model(tmp_path / kind, kind, labels=5)
    model = distill_image(*pictures(80, seed=1), teacher=folder, config=replace(CONFIG, training=QUICK))
    assert model.facts["taught_by"] == "teacher and outcomes"


def test_a_folder_is_asked_as_it_is_or_has_a_new_head(tmp_path):
    folder = saved_image_model(tmp_path / "resnet", "resnet")
    whole, _ = load_image_network(folder, SHAPE, labels=2, headless=False)
    again, _ = load_image_network(folder, SHAPE, labels=2, seed=7)
    assert torch.equal(whole.state_dict()["classifier.1.weight"], again.state_dict()["classifier.1.weight"])
    with pytest.raises(ModelError):
        load_image_network(folder, SHAPE, labels=3, headless=False)


def test_a_folder_says_how_its_images_are_spread(tmp_path):
    folder = saved_image_model(tmp_path / "resnet", "resnet")
    assert load_image_network(folder, SHAPE, labels=2)[1] == Spread.even(2)
    told = folder / "preprocessor_config.json"
    told.write_text(json.dumps({"image_mean": [0.4, 0.5], "image_std": [0.2, 0.3]}))
    assert load_image_network(folder, SHAPE, labels=2)[1] == Spread((0.4, 0.5), (0.2, 0.3))
    told.write_text(json.dumps({"do_normalize": False}))
    assert load_image_network(folder, SHAPE, labels=2)[1] == Spread((0.0, 0.0), (1.0, 1.0))
    told.write_text(json.dumps({"image_mean": [0.4] * 3, "image_std": [0.2] * 3}))
    with pytest.raises(ModelError, match="same channels"):
        load_image_network(folder, SHAPE, labels=2)
    told.write_text("{")
    with pytest.raises(ModelError, match="architecture"):
        load_image_network(folder, SHAPE, labels=2)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("resnet", ImageShape(3, SIDE, SIDE)),
        ("vit", ImageShape(2, 40, 40)),
        ("mobilenet_v2", ImageShape(1, SIDE, SIDE)),
    ],
)
def test_a_folder_for_other_images_is_refused(tmp_path, kind, shape):
    with pytest.raises(ModelError, match="must read images of"):
        load_image_network(saved_image_model(tmp_path / kind, kind), shape, labels=2)


def test_a_missing_folder_and_a_pickle_are_refused(tmp_path):
    with pytest.raises(ModelError, match="nothing is fetched"):
        distill_image(*pictures(40, seed=1), teacher="microsoft/resnet-50", config=CONFIG)
    folder = saved_image_model(tmp_path / "resnet", "resnet")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        load_image_network(folder, SHAPE, labels=2)


def test_lessons_that_cannot_be_given_are_refused(teacher):
    images, labels = pictures(40, seed=1)
    with pytest.raises(ConfigError, match="Bring two or more"):
        distill_image(images, [1] * 40, config=CONFIG)
    with pytest.raises(ConfigError, match="must align: 40 against 39"):
        distill_image(images, labels[:39], config=CONFIG)
    with pytest.raises(ConfigError, match="mixed"):
        distill_image(images, ["a", *labels[1:]], config=CONFIG)
    with pytest.raises(ModelError, match="two rows at least"):
        distill_image(images, [1, *[0] * 39], config=CONFIG)
    with pytest.raises(ConfigError, match="Wrap it"):
        distill_image(images, labels, teacher=7, config=CONFIG)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="each row a probability"):
        distill_image(images, labels, teacher=np.ones((39, 2)) / 2, config=CONFIG)
    with pytest.raises(ModelError, match="sum to 1"):
        distill_image(images, labels, teacher=np.full((40, 2), np.nan), config=CONFIG)
    with pytest.raises(ModelError, match="tell rows apart"):
        distill_image(images, labels, teacher=np.full((40, 2), 0.5), config=CONFIG)
    with pytest.raises(ModelError, match="same classes"):
        distill_image(*pictures(60, seed=1, classes=3), teacher=teacher, config=CONFIG)
    with pytest.raises(DataError, match="held-out images must have 2 channels"):
        distill_image(images, labels, held_out=(images[:, :1], labels), config=CONFIG)
    with pytest.raises(ConfigError, match="Held-out rows have the classes"):
        distill_image(images, labels, held_out=(images, [5] * 40), config=CONFIG)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageBody("alexnet"),  # type: ignore[arg-type]
        lambda: ImageBody(width=0.0),
        lambda: ImageBody(depths=(1, 1)),
        lambda: ImageConfig(valid=1.0),
        lambda: ImageTeacherConfig(as_it_is=True),
    ],
    ids=["kind", "width", "depths", "valid", "as-it-is"],
)
def test_settings_that_mean_nothing_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_other_architectures_have_no_graph(tmp_path):
    network, spread = load_image_network(saved_image_model(tmp_path / "vit", "vit"), SHAPE, labels=2)
    with pytest.raises(ModelError, match="written for ResNet"):
        image_graph(network, SHAPE, spread=spread)


def test_a_session_is_told_how_many_threads(model):
    images = np.zeros((2, 2, SIDE, SIDE), np.float32)
    assert np.allclose(ImageSession(model.graph, threads=2).batch(images), ImageSession(model.graph).batch(images))
