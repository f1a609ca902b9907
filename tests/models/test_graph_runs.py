"""Constants written as rules: whatever they hold, the runtime works out the same numbers."""

from __future__ import annotations

import numpy as np
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.graph_runs import add_bits, add_numbers, add_runs


def worked_out(graph: GraphBuilder, name: str) -> np.ndarray:
    numbers = graph.op("Cast", name, to=TensorProto.FLOAT)
    flat = graph.op("Reshape", numbers, graph.constant([-1]))
    graph.rename(graph.op("Add", flat, graph.op("ReduceSum", "zero", keepdims=0)), "told")
    model = graph.model(inputs={"zero": (TensorProto.FLOAT, 1)}, outputs=("told",), facts={})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["told"], {"zero": np.zeros((1, 1), dtype=np.float32)})[0])


@st.composite
def matrices(draw):
    """Rows by the rule, of any length, and a few that are not."""
    rows, columns = draw(st.integers(20, 40)), draw(st.integers(16, 30))
    matrix = np.empty((rows, columns), dtype=np.int64)
    for row in range(rows):
        head, first, tail = draw(st.tuples(*[st.integers(-5, 900)] * 3))
        length = draw(st.integers(1, columns))
        matrix[row] = np.where(np.arange(columns) < length, first - 1 + np.arange(columns), tail)
        matrix[row, 0] = head
    for row in draw(st.sets(st.integers(0, rows - 1), max_size=rows)):
        matrix[row, draw(st.integers(0, columns - 1))] += 7
    return matrix


@settings(max_examples=25, deadline=None)
@given(matrix=matrices(), packed=st.booleans())
def test_a_matrix_of_runs_is_worked_out_as_it_was(matrix, packed):
    graph = GraphBuilder(packed=packed)
    assert worked_out(graph, add_runs(graph, matrix)).tolist() == matrix.ravel().tolist()


@settings(max_examples=25, deadline=None)
@given(flags=st.lists(st.booleans(), min_size=1, max_size=600), packed=st.booleans())
def test_flags_are_worked_out_as_they_were(flags, packed):
    graph = GraphBuilder(packed=packed)
    told = worked_out(graph, add_bits(graph, np.array(flags)))
    assert told.tolist() == [float(flag) for flag in flags]


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from([0.1, 0.5, 3e6]), st.integers(1, 90)), min_size=1, max_size=5),
    packed=st.booleans(),
)
def test_numbers_are_worked_out_as_they_were(parts, packed):
    numbers = np.concatenate([np.arange(count, dtype=np.float32) * np.float32(size) for size, count in parts])
    graph = GraphBuilder(packed=packed)
    assert worked_out(graph, add_numbers(graph, numbers)).tolist() == numbers.tolist()


def test_short_numbers_take_half_their_bytes_and_those_of_no_number_stay():
    numbers = np.concatenate([np.arange(500, dtype=np.float32), np.array([0.1, -np.inf, np.nan], dtype=np.float32)])
    graph = GraphBuilder(packed=True)
    graph.rename(add_numbers(graph, numbers), "told")
    model = graph.model(inputs={"zero": (TensorProto.FLOAT, 1)}, outputs=("told",), facts={})
    assert len(model) < 2 * numbers.size + 300
    told = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
        ["told"], {"zero": np.zeros((1, 1), dtype=np.float32)}
    )[0]
    assert np.array_equal(told, numbers, equal_nan=True)


def test_a_rule_takes_a_tenth_of_its_numbers():
    matrix = np.arange(100)[:, None] * 60 + np.arange(50)
    plain, packed = GraphBuilder(), GraphBuilder(packed=True)
    for graph in (plain, packed):
        graph.rename(graph.op("Cast", add_runs(graph, matrix), to=TensorProto.FLOAT), "told")
    sizes = [
        len(graph.model(inputs={"zero": (TensorProto.FLOAT, 1)}, outputs=("told",), facts={}))
        for graph in (plain, packed)
    ]
    assert sizes[1] < sizes[0] / 10
