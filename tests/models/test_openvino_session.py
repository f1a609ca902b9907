"""The graph through another runtime: the same numbers, as long as it is told to keep them in 32 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Fields, Inputs
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import TOLERANCE, export_graph
from leanrisk.models.fake_quant import halve_vectors, input_steps, parts_of
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.openvino_session import OpenvinoSession
from leanrisk.models.quantization import Quantization
from tests.models.networks import made_fields, made_inputs, made_network

pytest.importorskip("openvino")

LEVELS, NUMBERS = made_fields(0, 5), made_fields(6, 2)
CALIBRATION = Calibration("platt", 0.6, -1.3)


def graph(fields: Fields, arithmetic: str | None = None) -> bytes:
    network = made_network("tiny", fields)
    halve_vectors(network)
    parts = parts_of(network)
    if arithmetic is None:
        return export_graph(network, fields, CALIBRATION)
    lookups = Encoder(fields).lookups(made_inputs(fields, 600))
    steps = input_steps(network, lookups, parts) if arithmetic == "int8" else {}
    return export_graph(network, fields, CALIBRATION, Quantization(parts, arithmetic, steps))  # type: ignore[arg-type]


def multiplies_bf16() -> bool:
    told = Path("/proc/cpuinfo")
    return told.is_file() and any(flag in told.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def test_one_file_feeds_both_runtimes():
    plain, inputs = graph(LEVELS), made_inputs(LEVELS, 600)
    expected = GraphSession(plain).probability(inputs)
    session = OpenvinoSession(plain, inputs)
    for rows in (0, 1, 3, 600):
        np.testing.assert_allclose(session.probability(inputs.take(slice(0, rows))), expected[:rows], atol=TOLERANCE)


@pytest.mark.skipif(not multiplies_bf16(), reason="this processor does not multiply bf16")
def test_left_to_itself_it_takes_bf16_for_float32_and_is_found_out():
    with pytest.raises(ModelError, match="OpenVINO answers otherwise"):
        OpenvinoSession(graph(LEVELS), made_inputs(LEVELS, 600), exact=False)


@pytest.mark.parametrize(("fields", "arithmetic"), [(LEVELS, "int8"), (NUMBERS, None), (NUMBERS, "int8")])
def test_a_graph_is_answered_alike_or_not_at_all(fields, arithmetic):
    asked, inputs = graph(fields, arithmetic), made_inputs(fields, 300)
    found = answered(asked, inputs)
    if found is not None:
        np.testing.assert_allclose(found, GraphSession(asked).probability(inputs), atol=1e-4)


def answered(asked: bytes, inputs: Inputs) -> np.ndarray | None:
    """Return OpenVINO's answers, None where they are refused for not being those of ONNX Runtime."""
    try:
        return OpenvinoSession(asked, inputs).probability(inputs)
    except ModelError as error:
        if "OpenVINO answers otherwise" in str(error):
            return None
        raise


def test_codes_that_are_unpacked_are_refused_by_name():
    with pytest.raises(ModelError, match="this one unpacks int8 codes"):
        OpenvinoSession(graph(LEVELS, "unpacked"), made_inputs(LEVELS, 10))


@pytest.mark.parametrize("damage", [b"", b"\x00\xff" * 200])
def test_a_damaged_graph_is_refused(damage):
    with pytest.raises(ModelError, match="must load"):
        OpenvinoSession(damage, made_inputs(LEVELS, 10))
