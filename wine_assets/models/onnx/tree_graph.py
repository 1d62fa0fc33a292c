"""The ONNX graph of an ensemble of trees, which compares and sums in float64."""

from collections.abc import Sequence
from typing import Any

from wine_assets.models.base import TrainingData
from wine_assets.models.onnx import export

OPSETS = (("", export.OPSET), ("ai.onnx.ml", 3))


def tree_classifier(trees: Sequence[Any], baseline: float, data: TrainingData, metadata: dict[str, str]) -> bytes:
    """Return the graph of P(class 1) = sigmoid(baseline + the values of the leaves that a row falls into).

    A tree is a structured array of nodes, the root first: a row goes from a node to its `left` where the value of
    `feature_idx` is at most `num_threshold`, else to its `right`, until `is_leaf`, whose `value` counts. Rows are
    widened to float64, in which thresholds and values are what they are in the estimator: a float32 row can't fall on
    the other side, and the sum is rounded once. The logits are -z and z, as in the linear graph.
    """
    attributes = {**_splits(trees), **_leaves(trees), **_tensors(base_values=[baseline])}
    return export.serialized(_graph(attributes, len(data.features)), metadata, OPSETS)


def _graph(attributes: dict[str, Any], features: int) -> Any:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", [export.INPUT], ["wide_features"], to=TensorProto.DOUBLE),
        helper.make_node(
            "TreeEnsembleRegressor", ["wide_features"], ["logit"], domain="ai.onnx.ml", n_targets=1, **attributes
        ),
        helper.make_node("Mul", ["logit", "signs"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [export.PROBABILITIES]),
        helper.make_node("ArgMax", ["logits"], [export.LABEL], axis=1, keepdims=0),
    ]
    return helper.make_graph(
        nodes,
        "tree_classifier",
        *export.interface(features),
        [numpy_helper.from_array(np.array([[-1, 1]], dtype=np.float32), "signs")],
    )


def _splits(trees: Sequence[Any]) -> dict[str, Any]:
    """Return the attributes of all nodes; at a leaf, what only a split has is 0."""
    import numpy as np

    nodes = np.concatenate(trees)
    leaf = nodes["is_leaf"] != 0
    at_splits = {
        "nodes_featureids": nodes["feature_idx"],
        "nodes_truenodeids": nodes["left"],
        "nodes_falsenodeids": nodes["right"],
    }
    return {
        "nodes_treeids": _tree_numbers(trees),
        "nodes_nodeids": np.concatenate([np.arange(len(tree)) for tree in trees]).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        **{name: np.where(leaf, 0, values).tolist() for name, values in at_splits.items()},
        **_tensors(nodes_values=np.where(leaf, 0.0, nodes["num_threshold"])),
    }


def _leaves(trees: Sequence[Any]) -> dict[str, Any]:
    """Return the attributes of what each leaf adds to the one target."""
    import numpy as np

    leaf = np.concatenate(trees)["is_leaf"] != 0
    return {
        "target_treeids": np.asarray(_tree_numbers(trees))[leaf].tolist(),
        "target_nodeids": np.concatenate([np.flatnonzero(tree["is_leaf"]) for tree in trees]).tolist(),
        "target_ids": [0] * int(leaf.sum()),
        **_tensors(target_weights=np.concatenate(trees)["value"][leaf]),
    }


def _tree_numbers(trees: Sequence[Any]) -> list[int]:
    return [number for number, tree in enumerate(trees) for _ in range(len(tree))]


def _tensors(**values: Any) -> dict[str, Any]:
    """Return attributes in float64, which the operator takes as tensors."""
    import numpy as np
    from onnx import numpy_helper

    return {
        f"{name}_as_tensor": numpy_helper.from_array(np.asarray(numbers, dtype=np.float64), name)
        for name, numbers in values.items()
    }
