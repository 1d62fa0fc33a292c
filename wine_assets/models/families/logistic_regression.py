"""Logistic regression, with or without a scaler before it: the family of the reference run."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from wine_assets.errors import ArtifactError, ExportError, HyperparameterError
from wine_assets.models.base import Hyperparameters, TrainingData, python_number
from wine_assets.models.formats import skops_file
from wine_assets.models.onnx import export

Solver = Literal["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"]
Scaler = Literal["standard", "none"]
ClassWeight = Literal["none", "balanced"]

# Which mixes of L1 and L2 each solver can fit; a solver that is not named here fits L2 alone.
# Source: the table of solvers in scikit-learn's documentation of LogisticRegression.
L1_SOLVERS = ("liblinear", "saga")
ELASTIC_NET_SOLVERS = ("saga",)
SHUFFLING_SOLVERS = ("liblinear", "sag", "saga")
_SHARED = ("C", "l1_ratio", "solver", "max_iter", "tol", "fit_intercept")
"""The fields that scikit-learn's LogisticRegression calls the same and takes as they are."""


class LogisticRegressionHyperparameters(Hyperparameters):
    """What scikit-learn's LogisticRegression, and the scaler before it, are fitted with."""

    family: Literal["logistic_regression"] = Field(
        default="logistic_regression", description="a linear model, which is the default"
    )
    C: float = Field(
        default=1.0,
        gt=0,
        le=1e9,
        description="inverse of the regularization strength, above 0 and at most 1e9; the reference run uses 0.01",
    )
    l1_ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of L1 in the penalty: 0 is ridge, 1 is lasso, between them elastic net (saga alone)",
    )
    solver: Solver = Field(default="lbfgs", description="algorithm that minimizes the loss")
    max_iter: int = Field(
        default=5000, ge=1, le=1_000_000, description="iterations after which the solver gives up, 1 to 1,000,000"
    )
    tol: float = Field(default=1e-4, gt=0, le=1, description="tolerance at which the solver stops, above 0, at most 1")
    fit_intercept: bool = Field(default=True, description="whether the decision function has a constant term")
    class_weight: ClassWeight = Field(
        default="none", description="`balanced` weighs classes inversely to their frequency"
    )
    scaler: Scaler = Field(
        default="standard",
        description="`standard` brings each feature to mean 0 and variance 1 before the model; the reference has none",
    )
    random_state: int = Field(
        default=0, ge=0, le=2**32 - 1, description="seed of the solvers that shuffle: sag, saga, liblinear"
    )

    _numbers = field_validator("C", "l1_ratio", "tol", mode="before")(python_number)

    @model_validator(mode="after")
    def _solver_fits_the_penalty(self) -> Self:
        if 0 < self.l1_ratio < 1 and self.solver not in ELASTIC_NET_SOLVERS:
            raise HyperparameterError(_penalty_sentence(self, "an elastic net (0 < l1_ratio < 1)", ELASTIC_NET_SOLVERS))
        if self.l1_ratio == 1 and self.solver not in L1_SOLVERS:
            raise HyperparameterError(_penalty_sentence(self, "a lasso (l1_ratio = 1)", L1_SOLVERS))
        return self


def _penalty_sentence(fields: LogisticRegressionHyperparameters, penalty: str, solvers: tuple[str, ...]) -> str:
    return (
        f"solver {fields.solver!r} can't fit {penalty}, got l1_ratio {fields.l1_ratio}. "
        f"Change `hyperparameters.solver` to {' or '.join(solvers)}, or `hyperparameters.l1_ratio` to 0."
    )


REFERENCE = LogisticRegressionHyperparameters(C=0.01, scaler="none")
"""The reference run: `LogisticRegression(max_iter=5000, C=0.01)` on the features as they are."""


class LogisticRegressionFamily:
    """scikit-learn's LogisticRegression, bare or as the last step of a pipeline that scales first."""

    name: ClassVar[str] = "logistic_regression"
    description: ClassVar[str] = "A linear model; the defaults are the better one: scaled, C=1."
    version: ClassVar[str] = f"1+scikit-learn-{version('scikit-learn')}"
    flexibility: ClassVar[int] = 0
    hyperparameters: ClassVar[type[LogisticRegressionHyperparameters]] = LogisticRegressionHyperparameters
    batch_invariant: ClassVar[bool] = True
    weights: ClassVar[str] = "estimator.skops"
    default_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "C": {"kind": "float", "log": True, "low": 1e-4, "high": 1e2}
    }

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
        metadata = export.model_metadata(self, hyperparameters, data)
        return export.linear_classifier(weights, bias, data, metadata)


FAMILY = LogisticRegressionFamily()


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
