"""Gradient-boosted trees: a family that bends where logistic regression is straight."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from wine_assets.errors import ArtifactError, ExportError
from wine_assets.models.base import Hyperparameters, TrainingData, python_number
from wine_assets.models.formats import skops_file
from wine_assets.models.onnx import export, tree_graph

ClassWeight = Literal["none", "balanced"]

_SHARED = (
    *("learning_rate", "max_iter", "max_leaf_nodes", "min_samples_leaf", "l2_regularization", "max_features"),
    "random_state",
)
"""The fields that scikit-learn calls the same and takes as they are."""
_FIXED = {"early_stopping": False, "categorical_features": None}
"""What every fit is given: all rows are fitted on, and every feature is a number."""
_ASSUMED = {"loss": "log_loss", "max_bins": 255, "monotonic_cst": None, "interaction_cst": None, "warm_start": False}
"""What is left as scikit-learn has it."""
_TRUSTED_TYPES = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
"""What a file holds beside the types that skops trusts by itself."""


class GradientBoostingHyperparameters(Hyperparameters):
    """What scikit-learn's HistGradientBoostingClassifier is fitted with, on all rows: it never stops early."""

    model_config = ConfigDict(json_schema_extra={"required": ["family"]})

    family: Literal["gradient_boosting"] = Field(
        default="gradient_boosting", description="trees, each fitted to the errors of those before it"
    )
    learning_rate: float = Field(
        default=0.1, gt=0, le=1, description="share of each tree's correction that is taken, above 0 and at most 1"
    )
    max_iter: int = Field(default=100, ge=1, le=10_000, description="number of trees, 1 to 10,000")
    max_leaf_nodes: int = Field(default=31, ge=2, le=10_000, description="leaves of a tree at most, 2 to 10,000")
    max_depth: int = Field(
        default=0, ge=0, le=1000, description="splits from a tree's root to a leaf at most, 1 to 1,000; 0 is no limit"
    )
    min_samples_leaf: int = Field(default=20, ge=1, le=1_000_000, description="rows in a leaf at least, 1 to 1,000,000")
    l2_regularization: float = Field(
        default=0.0, ge=0, le=1e9, description="strength of L2 on the values of leaves, 0 (none) to 1e9"
    )
    max_features: float = Field(
        default=1.0, gt=0, le=1, description="share of the features that each split is chosen from, above 0, at most 1"
    )
    class_weight: ClassWeight = Field(
        default="none", description="`balanced` weighs classes inversely to their frequency"
    )
    random_state: int = Field(
        default=0, ge=0, le=2**32 - 1, description="seed of the features tried, and of the rows that bins are made of"
    )

    _numbers = field_validator("learning_rate", "l2_regularization", "max_features", mode="before")(python_number)


class GradientBoostingFamily:
    """scikit-learn's HistGradientBoostingClassifier, on all rows and without early stopping."""

    name: ClassVar[str] = "gradient_boosting"
    description: ClassVar[str] = "Gradient-boosted trees."
    version: ClassVar[str] = f"1+scikit-learn-{version('scikit-learn')}"
    flexibility: ClassVar[int] = 10
    hyperparameters: ClassVar[type[GradientBoostingHyperparameters]] = GradientBoostingHyperparameters
    batch_invariant: ClassVar[bool] = False
    """A batch that several threads share is summed in another order: a predictor gives these models one thread."""
    weights: ClassVar[str] = "estimator.skops"
    default_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "learning_rate": {"kind": "float", "log": True, "low": 0.01, "high": 0.5},
        "max_iter": {"kind": "int", "log": True, "low": 10, "high": 300},
        "max_leaf_nodes": {"kind": "int", "log": True, "low": 3, "high": 63},
        "min_samples_leaf": {"kind": "int", "log": True, "low": 2, "high": 40},
    }

    def fit(self, X: Any, y: Any, hyperparameters: GradientBoostingHyperparameters) -> Any:
        """Return the fitted classifier; X is a frame [n, features] of float64, y a series [n] of int64 in {0, 1}."""
        return _classifier(hyperparameters).fit(X, y)

    def iterations(self, hyperparameters: GradientBoostingHyperparameters) -> int:
        """Return the number of trees."""
        return hyperparameters.max_iter

    def advance(
        self, estimator: Any | None, X: Any, y: Any, hyperparameters: GradientBoostingHyperparameters, iterations: int
    ) -> Any:
        """Return a classifier of so many trees: those that `estimator` has, if any, and the ones that come next.

        scikit-learn keeps the state of its random numbers, so that the trees are those of one fit.
        """
        classifier = _classifier(hyperparameters).set_params(warm_start=True) if estimator is None else estimator
        return classifier.set_params(max_iter=iterations).fit(X, y)

    def complexity(self, hyperparameters: GradientBoostingHyperparameters) -> float:
        """Return the most leaves that all trees may have."""
        depth, leaves = hyperparameters.max_depth, hyperparameters.max_leaf_nodes
        of_a_tree = min(leaves, 1 << depth) if depth else leaves
        return float(hyperparameters.max_iter * of_a_tree)

    def save(self, estimator: Any, path: Path) -> None:
        """Write the estimator to `path` in the skops format."""
        skops_file.save(estimator, path)

    def load(self, path: Path) -> Any:
        """Read an estimator that `save` wrote; raise ArtifactError for anything else.

        scikit-learn follows the nodes of a tree without looking where they lead, so that is looked at here.
        """
        estimator = skops_file.load(path, _TRUSTED_TYPES)
        if not _is_supported(estimator) or not _is_sound(estimator):
            raise ArtifactError(
                f"{path} holds no trees that this project wrote. Don't use it; materialize wine_model again."
            )
        return estimator

    def export(self, estimator: Any, hyperparameters: GradientBoostingHyperparameters, data: TrainingData) -> bytes:
        """Return the trees as one graph, which compares and sums in float64."""
        if not _is_supported(estimator) or [*getattr(estimator, "classes_", ())] != [0, 1]:
            raise ExportError(
                "Expected a HistGradientBoostingClassifier fitted by this family on the classes 0 and 1, got "
                f"{type(estimator).__name__}. Fit it with this family, or export it with skl2onnx."
            )
        metadata = export.model_metadata(self, hyperparameters, data)
        baseline = float(estimator._baseline_prediction[0, 0])  # noqa: SLF001 - scikit-learn shows it in no other way
        return tree_graph.tree_classifier(_trees(estimator), baseline, data, metadata)


FAMILY = GradientBoostingFamily()


def _trees(estimator: Any) -> list[Any]:
    """Return the nodes of each tree, a structured array."""
    return [predictor.nodes for (predictor,) in estimator._predictors]  # noqa: SLF001 - as above


def _is_supported(estimator: Any) -> bool:
    """Tell whether this is a HistGradientBoostingClassifier with no parameter that this family doesn't have."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if type(estimator) is not HistGradientBoostingClassifier:
        return False
    return all(getattr(estimator, name) == value for name, value in (_FIXED | _ASSUMED).items())


def _is_sound(estimator: Any) -> bool:
    """Tell whether each split leads to two later nodes of its tree, by a feature that there is."""
    import numpy as np

    try:
        for nodes in _trees(estimator):
            splits = nodes[nodes["is_leaf"] == 0]
            places = np.flatnonzero(nodes["is_leaf"] == 0)
            for child in (splits["left"], splits["right"]):
                if not ((child > places) & (child < len(nodes))).all():
                    return False
            features = splits["feature_idx"]
            if splits["is_categorical"].any() or not ((features >= 0) & (features < estimator.n_features_in_)).all():
                return False
    except (AttributeError, IndexError, TypeError, ValueError):
        return False
    return len(estimator._predictors) > 0  # noqa: SLF001 - as above


def _classifier(hyperparameters: GradientBoostingHyperparameters) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        **hyperparameters.model_dump(include=set(_SHARED)),
        **_FIXED,
        max_depth=hyperparameters.max_depth or None,
        class_weight=None if hyperparameters.class_weight == "none" else hyperparameters.class_weight,
    )
