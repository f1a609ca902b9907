"""From a taught network to the one ONNX graph that serves it, checked against the network before it is handed out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Fields, Inputs, Lookups
from leanrisk.models.calibration import Calibration, Ramps
from leanrisk.models.fake_quant import rounded_copy
from leanrisk.models.graph_body import add_body
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.graph_front import FrontEnd
from leanrisk.models.graph_weights import GraphWeights
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.quantization import ARITHMETIC, Quantization
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits

TOLERANCE = 1e-5
"""Largest difference between the network's and the graph's probability (in regression: relative to the scale)."""

_ONE_BLOCK = 128
TOLERANCE_OF_CODES = 0.05
"""The same where inputs of layers are rounded: the most that a few inputs on the other side of a code were seen to do
was 0.02, on networks of random weights."""


def export_graph(
    network: RiskTransformer, fields: Fields, calibration: Calibration, plan: Quantization | None = None
) -> bytes:
    """Return the serialised graph, raw numbers in and final numbers out.

    Inputs: `numeric` float32 (rows, F) and `category` int64 (rows, C); outputs: `logit` and `probability`, (rows,). An
    input that the fields do not need is left out. Calibration is inside: `probability` is final (in regression it is
    the value in the target's own unit). With a `plan` its parts are written as int8 codes; the network holds the
    weights that were taught.
    """
    graph = GraphBuilder(packed=plan is not None)
    table = network.table.weight.detach().cpu().float().numpy()
    front = FrontEnd(fields, table, tuple(network.config.lookup_tokens), plan)
    logit = add_body(GraphWeights(graph, network, plan), front.add_to(graph))
    told = {} if plan is None else {ARITHMETIC: plan.arithmetic}
    return finished_graph(graph, logit, fields, calibration, told=told)


def finished_graph(
    graph: GraphBuilder,
    logit: str,
    fields: Fields,
    calibration: Calibration,
    *,
    told: Mapping[str, str] | None = None,
) -> bytes:
    """Return the serialised graph that ends in the logits named `logit`, (rows, lanes), of which the first counts.

    Adds the calibration and the outputs, and declares those inputs that the fields need. `told` goes into the graph's
    metadata.
    """
    graph.rename(_first_lane(graph, logit), "logit")
    graph.rename(_first_lane(graph, _calibrated(graph, calibration, logit)), "probability")
    inputs = {
        "numeric": (TensorProto.FLOAT, len(fields.numeric)),
        "category": (TensorProto.INT64, len(fields.category)),
    }
    facts = {"leanrisk.calibration": calibration.kind, "leanrisk.link": calibration.link, **(told or {})}
    return graph.model(
        inputs={name: shape for name, shape in inputs.items() if shape[1]},
        outputs=("logit", "probability"),
        facts=facts,
    )


def check_parity(
    graph: bytes,
    network: RiskTransformer,
    calibration: Calibration,
    inputs: Inputs,
    lookups: Lookups,
    plan: Quantization | None = None,
) -> float:
    """Return the largest difference between graph and network on these rows, empty and one-row batches included.

    With a `plan` the network answers by its codes. Raises `ModelError` above `TOLERANCE`: a graph that answers
    otherwise than the network it came from never ships. Where inputs of layers are rounded, one that lies between two
    codes may fall to either side by its last bit: there the middle of the differences must be within `TOLERANCE`, and
    each within `TOLERANCE_OF_CODES`.
    """
    exact = plan is None or plan.arithmetic == "unpacked"
    if plan is not None and plan.arithmetic == "dynamic":
        # A row's score depends on its company there: both sides must be asked the same rows at once.
        inputs, lookups = inputs.take(slice(0, _ONE_BLOCK)), lookups.take(slice(0, _ONE_BLOCK))
    logits = predict_logits(network if plan is None else rounded_copy(network, plan), lookups)
    return check_answers(graph, calibration, inputs, logits, most=TOLERANCE if exact else TOLERANCE_OF_CODES)


def check_answers(
    graph: bytes,
    calibration: Calibration,
    inputs: Inputs,
    logits: npt.NDArray[np.float32],
    *,
    most: float = TOLERANCE,
) -> float:
    """Return the largest difference between the graph and these logits of a model of any kind, calibrated.

    Raises `ModelError` where it is above `most`, or the middle one above `TOLERANCE`.
    """
    session = GraphSession(graph)
    session.probability(inputs.take(slice(0, 0)))
    expected = calibration.apply(logits)
    scale = 1.0 if calibration.link == "sigmoid" else max(1.0, abs(calibration.slope))
    whole = np.abs(session.probability(inputs) - expected)
    first = np.abs(session.probability(inputs.take(slice(0, 1))) - expected[:1])
    worst = float(max(whole.max(initial=0.0), first.max(initial=0.0))) / scale
    middle = float(np.median(whole)) / scale if whole.size else 0.0
    if not (worst <= most and middle <= TOLERANCE):
        raise ModelError(
            f"The exported graph must agree with its model within {most}: it differs by {worst:.2e}. "
            "Report this as a defect; nothing was written."
        )
    return worst


def _calibrated(graph: GraphBuilder, calibration: Calibration, logit: str) -> str:
    if calibration.x:
        mapped = _ramped(graph, calibration.ramps(), logit)
    else:
        mapped = graph.op("Mul", logit, graph.number(calibration.slope))
        mapped = graph.op("Add", mapped, graph.number(calibration.intercept))
    return graph.op("Sigmoid", mapped) if calibration.link == "sigmoid" else mapped


def _ramped(graph: GraphBuilder, ramps: Ramps, logit: str) -> str:
    places, lows, highs, slopes = (
        graph.constant(values.astype(np.float32)) for values in (ramps.places, ramps.lows, ramps.highs, ramps.slopes)
    )
    run = graph.op("Sub", graph.op("Unsqueeze", logit, graph.constant([2])), places)
    risen = graph.op("Mul", graph.op("Min", graph.op("Max", run, lows), highs), slopes)
    return graph.op("Add", graph.op("ReduceSum", risen, graph.constant([2]), keepdims=0), graph.number(ramps.base))


def _first_lane(graph: GraphBuilder, lanes: str) -> str:
    return graph.op("Gather", lanes, graph.constant(np.array(0, dtype=np.int64)), axis=1)
