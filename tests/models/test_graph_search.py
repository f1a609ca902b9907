"""The graph's search: few operators, all of the standard set, and right where fields differ in every way."""

import numpy as np
import onnx
import pytest

from leanrisk.core.inputs import Fields, Inputs, NumericField
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import TOLERANCE, check_parity, export_graph
from tests.models.networks import made_fields, made_inputs, made_network


def nodes(graph: bytes) -> list[onnx.NodeProto]:
    return list(onnx.load_from_string(graph).graph.node)


def test_every_operator_is_of_the_standard_set():
    fields = made_fields(20, 5)
    for preset in ("swift", "tiny"):
        graph = export_graph(made_network(preset, fields), fields, Calibration())
        assert {node.domain for node in nodes(graph)} == {""}


def test_more_fields_take_no_more_operators():
    few, many = made_fields(9, 3), made_fields(90, 30)
    counts = [len(nodes(export_graph(made_network("swift", fields), fields, Calibration()))) for fields in (few, many)]
    assert counts[0] == counts[1] < 80


@pytest.mark.parametrize("codes", [(0.5,), (-9.0, 0.0), (1.0, 2.0, 3.0), (7.5,)])
def test_codes_may_stand_anywhere_among_the_edges(codes):
    coded = NumericField("coded", (0.0, 1.0, 2.0, 3.0), codes)
    fields = Fields((coded, NumericField("plain", (-1.0, 1.0)), NumericField("fine", tuple(range(255)), ())), ())
    beside = [np.nextafter(np.float32(code), np.float32(way)) for code in codes for way in (-np.inf, np.inf)]
    values = np.array([*codes, *beside, 0.0, -0.0, 0.5, 1.0, 2.5, 3.0, 4.0, -5.0, 254.0, np.nan], dtype=np.float32)
    inputs = Inputs(np.repeat(values[:, None], 3, axis=1), np.empty((values.size, 0), dtype=np.int64))
    network = made_network("swift", fields)
    graph = export_graph(network, fields, Calibration())
    assert check_parity(graph, network, Calibration(), inputs, Encoder(fields).lookups(inputs)) <= TOLERANCE


def test_a_field_alone_in_its_token_changes_nothing_of_another():
    # Three fields in two tokens leave a place empty, which repeats a field: even its gaps must count nothing.
    fields = made_fields(3, 0)
    network, inputs = made_network("swift", fields), made_inputs(fields, 200)
    inputs.numeric[::3, 0] = np.nan
    graph = export_graph(network, fields, Calibration())
    assert check_parity(graph, network, Calibration(), inputs, Encoder(fields).lookups(inputs)) <= TOLERANCE
