"""Estimators as ONNX models: one small graph for linear classifiers, skl2onnx for what has no graph of its own."""

import json
from collections.abc import Sequence
from typing import Any

from wine_assets.errors import ExportError
from wine_assets.models.base import Family, Hyperparameters, TrainingData

INPUT = "features"
LABEL = "label"
PROBABILITIES = "probabilities"
OPSET = 18
IR_VERSION = 10
PRODUCER = "wine_assets"

# The largest error of the decision function that float32 is trusted with; beyond it the graph computes in float64.
# A probability moves by at most a quarter of it, which leaves room below the 1e-5 that the parity check allows.
SINGLE_PRECISION_ERROR = 1e-5
_HALF_ULP = 2.0**-24


def linear_classifier(weights: Any, bias: float, data: TrainingData, metadata: dict[str, str]) -> bytes:
    """Return the graph of P(class 1) = sigmoid(x . weights + bias): one Gemm, one Sigmoid, one ArgMax.

    `weights` is float64 [features]. Both columns of the logits, -z and z, come from the one Gemm, so that one Sigmoid
    gives both probabilities, to about 1e-7 (onnxruntime's answers 0 below a logit of -18). Weights are rounded to
    float32 once, at the end; a model whose terms are too large for that is computed in float64 inside the graph.
    """
    import numpy as np

    error = _HALF_ULP * (float(np.abs(weights) @ np.asarray(data.reach)) + abs(bias))
    precision = np.float32 if error <= SINGLE_PRECISION_ERROR else np.float64
    columns = np.stack([-weights, weights], axis=1).astype(precision)
    offsets = np.array([-bias, bias], dtype=precision)
    graph = _linear_graph(columns, offsets)
    return serialized(graph, metadata)


def convert(
    estimator: Any, data: TrainingData, metadata: dict[str, str], options: dict[str, Any] | None = None
) -> bytes:
    """Return what skl2onnx makes of a scikit-learn classifier, with this project's inputs, outputs and metadata.

    Raise ExportError for what skl2onnx can't convert, or what gives no probabilities.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    if not hasattr(estimator, "predict_proba"):
        raise ExportError(f"{type(estimator).__name__} gives no probabilities. Use a classifier with predict_proba.")
    try:
        model = to_onnx(
            estimator,
            initial_types=[(INPUT, FloatTensorType([None, len(data.features)]))],
            options={id(estimator): {"zipmap": False, **(options or {})}},
            target_opset=OPSET,
        )
    except Exception as error:
        raise ExportError(
            f"skl2onnx can't convert {type(estimator).__name__}: {error}. Use a family whose estimator it supports."
        ) from error
    _rename_outputs(model.graph, (LABEL, PROBABILITIES))
    return serialized(model.graph, metadata, [(entry.domain, entry.version) for entry in model.opset_import])


def model_metadata(family: Family[Any], hyperparameters: Hyperparameters, data: TrainingData) -> dict[str, str]:
    """Return what the file says of itself: nothing in it changes when the inputs don't."""
    return {
        "features": json.dumps(data.features),
        "classes": json.dumps(data.classes),
        "family": family.name,
        "batch_invariant": json.dumps(family.batch_invariant),
        "hyperparameters": json.dumps(hyperparameters.model_dump(), sort_keys=True),
        "data_fingerprint": data.fingerprint,
    }


def interface(features: int) -> tuple[list[Any], list[Any]]:
    """Return what every graph of this project takes, and what it returns."""
    from onnx import TensorProto, helper

    return [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", features])], [
        helper.make_tensor_value_info(LABEL, TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["n", 2]),
    ]


def serialized(graph: Any, metadata: dict[str, str], opsets: Any = (("", OPSET),)) -> bytes:
    """Return the bytes of a model of this graph, which onnx has checked; equal arguments give equal bytes."""
    import onnx
    from onnx import helper

    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
    )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _linear_graph(columns: Any, offsets: Any) -> Any:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    double = columns.dtype == np.float64
    gemm_input, sigmoid_output = ("wide_features", "wide_probabilities") if double else (INPUT, PROBABILITIES)
    nodes = [
        helper.make_node("Gemm", [gemm_input, "weights", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [sigmoid_output]),
        helper.make_node("ArgMax", ["logits"], [LABEL], axis=1, keepdims=0),
    ]
    if double:
        nodes.insert(0, helper.make_node("Cast", [INPUT], [gemm_input], to=TensorProto.DOUBLE))
        nodes.append(helper.make_node("Cast", [sigmoid_output], [PROBABILITIES], to=TensorProto.FLOAT))
    return helper.make_graph(
        nodes,
        "linear_classifier",
        *interface(columns.shape[0]),
        [numpy_helper.from_array(columns, "weights"), numpy_helper.from_array(offsets, "bias")],
    )


def _rename_outputs(graph: Any, names: Sequence[str]) -> None:
    renamed = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for output in graph.output:
        output.name = renamed[output.name]
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [renamed.get(value, value) for value in values]
