"""Logistic regression, with or without a scaler before it: the family of the reference run."""

from pathlib import Path
from typing import Any, ClassVar

from wine_assets.errors import ArtifactError, ExportError
from wine_assets.models.base import TrainingData
from wine_assets.models.formats import skops_file
from wine_assets.models.hyperparameters import SHUFFLING_SOLVERS, LogisticRegressionHyperparameters
from wine_assets.models.onnx import export

_SHARED = ("C", "l1_ratio", "solver", "max_iter", "tol", "fit_intercept")
"""The fields that scikit-learn's LogisticRegression calls the same and takes as they are."""


class LogisticRegressionFamily:
    """scikit-learn's LogisticRegression, bare or as the last step of a pipeline that scales first."""

    name: ClassVar[str] = "logistic_regression"
    hyperparameters: ClassVar[type[LogisticRegressionHyperparameters]] = LogisticRegressionHyperparameters
    batch_invariant: ClassVar[bool] = True
    weights: ClassVar[str] = "estimator.skops"

    def fit(self, X: Any, y: Any, hyperparameters: LogisticRegressionHyperparameters) -> Any:
        """Return the fitted LogisticRegression, or a Pipeline with a StandardScaler before it.

        X is a frame [n, features] of float64, y a series [n] of int64 in {0, 1}. Without a scaler the result is
        bit-equal to `LogisticRegression(max_iter=5000, C=...).fit(X, y)`.
        """
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        classifier = _classifier(hyperparameters)
        estimator = classifier if hyperparameters.scaler == "none" else make_pipeline(StandardScaler(), classifier)
        return estimator.fit(X, y)

    def complexity(self, hyperparameters: LogisticRegressionHyperparameters) -> float:
        """Return C: the larger, the weaker the regularization."""
        return hyperparameters.C

    def save(self, estimator: Any, path: Path) -> None:
        """Write the estimator to `path` in the skops format."""
        skops_file.save(estimator, path)

    def load(self, path: Path) -> Any:
        """Read an estimator that `save` wrote; raise ArtifactError for anything else."""
        estimator = skops_file.load(path)
        try:
            _steps(estimator)
        except ExportError as error:
            raise ArtifactError(f"{path} holds another estimator. {error}") from error
        return estimator

    def export(self, estimator: Any, hyperparameters: LogisticRegressionHyperparameters, data: TrainingData) -> bytes:
        """Return the scaler and the model folded, in float64, into one linear graph."""
        weights, bias = folded(estimator)
        metadata = export.model_metadata(self.name, hyperparameters, data)
        return export.linear_classifier(weights, bias, data, metadata)


def folded(estimator: Any) -> tuple[Any, float]:
    """Return the weights, float64 [features], and the bias that act on features as they are measured.

    Raise ExportError for a model that isn't fitted, or is fitted on other classes than 0 and 1.
    With z = (x - mean) / scale, coef . z + intercept is (coef / scale) . x + intercept - (coef / scale) . mean.
    """
    import numpy as np

    scaler, classifier = _steps(estimator)
    if [*getattr(classifier, "classes_", ())] != [0, 1]:
        raise ExportError("Expected a LogisticRegression fitted on the classes 0 and 1. Fit it on a binarized frame.")
    weights = np.asarray(classifier.coef_[0], dtype=np.float64)
    bias = float(np.ravel(classifier.intercept_)[0])  # liblinear without an intercept has a scalar
    if scaler is None:
        return weights, bias
    weights = weights / scaler.scale_
    return weights, bias - float(weights @ scaler.mean_)


def _steps(estimator: Any) -> tuple[Any, Any]:
    """Return the scaler, or None, and the classifier; raise ExportError for any other estimator."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    match [(type(step), step) for step in steps]:
        case [(kind, classifier)] if kind is LogisticRegression:
            return None, classifier
        case [(first, scaler), (kind, classifier)] if (first, kind) == (StandardScaler, LogisticRegression):
            if scaler.with_mean and scaler.with_std:
                return scaler, classifier
    raise ExportError(
        f"Expected a LogisticRegression, alone or after a StandardScaler, got {type(estimator).__name__}. "
        "Fit it with this family, or export it with skl2onnx."
    )


def _classifier(hyperparameters: LogisticRegressionHyperparameters) -> Any:
    from sklearn.linear_model import LogisticRegression

    given = hyperparameters.model_dump(include=set(_SHARED))
    if hyperparameters.class_weight != "none":
        given["class_weight"] = hyperparameters.class_weight
    if hyperparameters.solver in SHUFFLING_SOLVERS:
        given["random_state"] = hyperparameters.random_state
    return LogisticRegression(**given)
