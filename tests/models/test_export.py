"""The exported graph: the network's own answer, the same bits for a row whatever stands beside it."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Fields, Inputs, NumericField, TableLayout
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration, standardising
from leanrisk.models.export import TOLERANCE, check_parity, export_graph
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.graph_front import FrontEnd
from leanrisk.models.onnx_session import GraphSession
from tests.models.networks import logits_of, made_fields, made_inputs, made_network

FIELDS = {
    "both": made_fields(9, 4),
    "numeric only": made_fields(11, 0),
    "category only": made_fields(0, 5),
    "no special codes": made_fields(8, 2, codes=0),
    "one number": made_fields(1, 0),
    "one category": made_fields(0, 1),
    "many": made_fields(40, 9, seed=4),
}
CALIBRATIONS = {
    "none": Calibration(),
    "platt": Calibration("platt", 0.6, -1.3),
    "isotonic": Calibration("isotonic", 0.8, 0.1, x=(-2.0, -1.0, 0.5, 1.5), y=(-3.0, -2.5, 0.0, 4.0)),
    "standardising": standardising(250.0, 40.0),
}
PRESETS = ("swift", "tiny")
AWKWARD = st.sampled_from([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0, -9.0, -10.0]) | st.floats(width=32)


def exported(preset: str, fields: Fields, calibration: Calibration | None = None) -> GraphSession:
    return GraphSession(export_graph(made_network(preset, fields), fields, calibration or Calibration()))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", FIELDS)
def test_the_graph_says_what_the_network_says(preset, kind):
    fields = FIELDS[kind]
    network, inputs = made_network(preset, fields), made_inputs(fields, 1000)
    lookups = Encoder(fields).lookups(inputs)
    graph = export_graph(network, fields, Calibration())
    assert check_parity(graph, network, Calibration(), inputs, lookups) <= TOLERANCE
    expected = 1 / (1 + np.exp(-logits_of(network, lookups).astype(np.float64)))
    assert np.abs(GraphSession(graph).probability(inputs) - expected).max() <= TOLERANCE
    assert expected.std() > 0.02


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_calibration_is_inside(preset, kind):
    fields, calibration = FIELDS["both"], CALIBRATIONS[kind]
    network, inputs = made_network(preset, fields), made_inputs(fields, 1000)
    lookups = Encoder(fields).lookups(inputs)
    graph = export_graph(network, fields, calibration)
    assert check_parity(graph, network, calibration, inputs, lookups) <= TOLERANCE
    expected = calibration.apply(logits_of(network, lookups))
    unit = 1.0 if calibration.link == "sigmoid" else calibration.slope
    assert np.abs(GraphSession(graph).probability(inputs) - expected).max() <= TOLERANCE * unit


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_calibration_keeps_the_order_of_the_logits(kind):
    fields = FIELDS["both"]
    graph = export_graph(made_network("swift", fields), fields, CALIBRATIONS[kind])
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = made_inputs(fields, 1000)
    feed = {"numeric": inputs.numeric, "category": inputs.category}
    logit, probability = session.run(("logit", "probability"), feed)
    assert (np.diff(probability[np.argsort(logit)]) >= 0).all()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["both", "numeric only", "category only", "one number", "many"])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(preset, kind):
    fields = FIELDS[kind]
    session, inputs = exported(preset, fields, CALIBRATIONS["isotonic"]), made_inputs(fields, 1025)
    whole = session.probability(inputs)
    alone = np.concatenate([session.probability(inputs.take(slice(row, row + 1))) for row in range(1025)])
    np.testing.assert_array_equal(alone, whole)
    for size in (2, 3, 7, 31, 129, 511, 512, 513, 1000):
        starts = range(0, 1025, size)
        parts = [session.probability(inputs.take(slice(start, start + size))) for start in starts]
        np.testing.assert_array_equal(np.concatenate(parts), whole, err_msg=f"batches of {size}")


@pytest.mark.parametrize("preset", PRESETS)
def test_two_threads_give_the_bits_of_one(preset):
    fields = FIELDS["both"]
    graph = export_graph(made_network(preset, fields), fields, CALIBRATIONS["isotonic"])
    one, two = GraphSession(graph), GraphSession(graph, threads=2)
    for rows in (1, 2, 333, 1000):
        inputs = made_inputs(fields, rows)
        np.testing.assert_array_equal(one.probability(inputs), two.probability(inputs))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["both", "numeric only", "category only"])
def test_zero_rows_give_zero_probabilities(preset, kind):
    answer = exported(preset, FIELDS[kind]).probability(made_inputs(FIELDS[kind], 0))
    assert answer.shape == (0,)
    assert answer.dtype == np.float32


@pytest.mark.parametrize("preset", PRESETS)
def test_any_number_gives_a_finite_answer(preset):
    fields = FIELDS["both"]
    session = exported(preset, fields)
    inputs = made_inputs(fields, 9)
    for row, value in enumerate([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0, -9.0, 1e30]):
        inputs.numeric[row] = value
    assert np.isfinite(session.probability(inputs)).all()


@st.composite
def columns(draw):
    """One field with its edges and codes, and values at, beside and beyond every one of them."""
    whole = st.integers(-50, 50).map(float)
    edges = sorted(draw(st.sets(whole | st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=40)))
    edges = [edge for edge, gap in zip(edges, np.diff(edges, append=np.inf), strict=True) if gap > 1e-30]
    codes = tuple(draw(st.sets(st.integers(-9, -1), max_size=3)))
    near = [np.nextafter(np.float32(edge), np.float32(way)) for edge in edges for way in (-np.inf, np.inf)]
    asked = draw(st.lists(AWKWARD, max_size=10))
    edges = edges if len(edges) > 1 else [0.0, 1.0]
    return NumericField("x", tuple(edges), tuple(map(float, sorted(codes)))), [*edges, *codes, *near, *asked]


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(columns(), min_size=1, max_size=4))
def test_the_front_end_reads_what_the_encoder_looks_up(drawn):
    entries = [NumericField(f"x{place}", field.edges, field.codes) for place, (field, _) in enumerate(drawn)]
    fields = Fields(tuple(entries), ())
    rows = max(len(values) for _, values in drawn)
    numeric = np.stack([np.resize(np.array(values, dtype=np.float32), rows) for _, values in drawn], axis=1)
    inputs = Inputs(numeric, np.empty((rows, 0), dtype=np.int64))
    # A table whose row k holds the number k shows which rows were read, and how much of each.
    count = len(entries)
    table = np.repeat(np.arange(TableLayout.of(fields).size, dtype=np.float32)[:, None], 4, axis=1)
    graph = GraphBuilder()
    owners = tuple(np.repeat(np.arange(count), 2).tolist())
    tokens = FrontEnd(fields, table, owners).add_to(graph)
    for place in range(count):
        token = graph.op("Gather", tokens, graph.constant(np.array(place)), axis=1)
        graph.rename(graph.op("Gather", token, graph.constant(np.array(0)), axis=1), f"read_{place}")
    names = [f"read_{place}" for place in range(count)]
    model = graph.model(inputs={"numeric": (TensorProto.FLOAT, count)}, outputs=names, facts={})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    lookups = Encoder(fields).lookups(inputs)
    read = (lookups.index * lookups.weight).reshape(rows, count, 2).sum(axis=2)
    np.testing.assert_allclose(np.stack(session.run(names, {"numeric": numeric}), axis=1), read, rtol=1e-6, atol=1e-5)


def test_inputs_that_no_field_needs_are_left_out():
    for kind, wanted in (("both", {"numeric", "category"}), ("numeric only", {"numeric"})):
        graph = export_graph(made_network("swift", FIELDS[kind]), FIELDS[kind], Calibration())
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        assert {entry.name for entry in session.get_inputs()} == wanted
        assert [entry.name for entry in session.get_outputs()] == ["logit", "probability"]


def test_the_same_network_gives_the_same_bytes():
    fields = FIELDS["both"]
    assert export_graph(made_network("tiny", fields), fields, Calibration()) == export_graph(
        made_network("tiny", fields), fields, Calibration()
    )


def test_a_graph_of_another_network_is_refused():
    fields = FIELDS["both"]
    inputs = made_inputs(fields, 50)
    other = export_graph(made_network("swift", fields, seed=3), fields, Calibration())
    with pytest.raises(ModelError, match="agree"):
        check_parity(other, made_network("swift", fields), Calibration(), inputs, Encoder(fields).lookups(inputs))


def test_a_graph_without_its_calibration_is_refused():
    fields, network = FIELDS["both"], made_network("swift", FIELDS["both"])
    inputs = made_inputs(fields, 50)
    plain = export_graph(network, fields, Calibration())
    with pytest.raises(ModelError, match="agree"):
        check_parity(plain, network, CALIBRATIONS["platt"], inputs, Encoder(fields).lookups(inputs))


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_graph_is_refused(damage):
    whole = export_graph(made_network("swift", FIELDS["both"]), FIELDS["both"], Calibration())
    broken = {"cut": whole[: len(whole) // 2], "noise": b"\x00\xff" * 500, "empty": b""}[damage]
    with pytest.raises(ModelError, match="load in ONNX Runtime"):
        GraphSession(broken)
