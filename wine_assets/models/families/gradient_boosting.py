"""Gradient-boosted trees: a family that bends where logistic regression is straight."""

from pathlib import Path
from typing import Any, ClassVar

from wine_assets.errors import ArtifactError, ExportError
from wine_assets.models.base import TrainingData
from wine_assets.models.formats import skops_file
from wine_assets.models.hyperparameters import GradientBoostingHyperparameters
from wine_assets.models.onnx import export, tree_graph

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


class GradientBoostingFamily:
    """scikit-learn's HistGradientBoostingClassifier, on all rows and without early stopping."""

    name: ClassVar[str] = "gradient_boosting"
    hyperparameters: ClassVar[type[GradientBoostingHyperparameters]] = GradientBoostingHyperparameters
    batch_invariant: ClassVar[bool] = False
    """A batch that several threads share is summed in another order: a predictor gives these models one thread."""
    weights: ClassVar[str] = "estimator.skops"

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
        metadata = export.model_metadata(self.name, hyperparameters, data)
        baseline = float(estimator._baseline_prediction[0, 0])  # noqa: SLF001 - scikit-learn shows it in no other way
        return tree_graph.tree_classifier(_trees(estimator), baseline, data, metadata)


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
