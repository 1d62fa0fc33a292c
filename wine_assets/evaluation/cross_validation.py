"""How good a model is on rows that it has not seen: repeated stratified cross-validation."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.data import dataset
from wine_assets.errors import DataError
from wine_assets.models.base import Hyperparameters
from wine_assets.models.registry import family_of

VERSION = "2"
METRICS = ("accuracy", "log_loss", "roc_auc", "brier_score")
CALIBRATION_BINS = 10
_BLOCK_BYTES = 16 << 20
"""How many bytes of permuted rows are held at once."""


class EvaluationParams(StrictModel):
    """How the held-out figures are made."""

    config_path: ClassVar[str] = "evaluation"

    folds: int = Field(
        default=10, ge=2, le=100, description="parts that the rows are split into, each held out once; 2 to 100"
    )
    repeats: int = Field(default=1, ge=1, le=100, description="how often that is done, shuffled anew; 1 to 100")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="seed of the shuffles and of the permutations")
    permutations: int = Field(
        default=5, ge=1, le=100, description="how often each feature is permuted for its importance; 1 to 100"
    )


@dataclass(frozen=True)
class Importance:
    """How much the held-out log-loss grows when a feature's values are permuted."""

    feature: str
    mean: float
    deviation: float


@dataclass(frozen=True)
class Evaluation:
    """The held-out figures of one model; arrays hold one entry a row and repeat."""

    metrics: dict[str, float]
    deviations: dict[str, float]
    """Standard deviation of each metric over the held-out folds."""
    y: Any
    """The labels, int64 [n * repeats]."""
    probability: Any
    """The out-of-fold P(class 1), float64 [n * repeats]."""
    importances: tuple[Importance, ...]

    @property
    def confusion(self) -> Any:
        """Counts int64 [2, 2]: a row a true class, a column a predicted one."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.y, self.probability > 0.5, labels=[0, 1])  # noqa: PLR2004 - predict's threshold

    @property
    def calibration(self) -> tuple[Any, Any]:
        """Observed share of class 1 and mean predicted probability, for each of up to ten bins of equally many rows."""
        from sklearn.calibration import calibration_curve

        observed, predicted = calibration_curve(self.y, self.probability, n_bins=CALIBRATION_BINS, strategy="quantile")
        return observed, predicted


def evaluate(frame: Any, hyperparameters: Hyperparameters, params: EvaluationParams) -> Evaluation:
    """Fit on every fold's other rows and score on its own; raise DataError when a class has fewer rows than folds.

    The scaler, where there is one, is fitted inside the fold. Accuracy, log-loss, ROC AUC and Brier score are those
    of all out-of-fold predictions together; their deviations are over folds.
    """
    import numpy as np
    import sklearn

    X, y = dataset.features_and_target(frame)
    _require_rows(y, params)
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):  # both are checked already
        folds = [_held_out(X, y, hyperparameters, params, split) for split in _splits(X, y, params)]
    labels = np.concatenate([fold.y for fold in folds])
    probability = np.concatenate([fold.probability for fold in folds])
    each = [scores(fold.y, fold.probability) for fold in folds]
    return Evaluation(
        metrics=scores(labels, probability),
        deviations={name: float(np.std([score[name] for score in each])) for name in METRICS},
        y=labels,
        probability=probability,
        importances=_importances(X.columns, np.concatenate([fold.losses for fold in folds])),
    )


def scores(y: Any, probability: Any) -> dict[str, float]:
    """Return accuracy, log-loss, ROC AUC and Brier score of P(class 1), float64 [n], against labels, int64 [n]."""
    return {metric: score(metric, y, probability) for metric in METRICS}


def score(metric: str, y: Any, probability: Any) -> float:
    """Return one of these figures alone, by its name in `METRICS`."""
    from sklearn import metrics

    if metric == "accuracy":
        return float(metrics.accuracy_score(y, probability > 0.5))  # noqa: PLR2004 - the threshold of predict
    if metric == "log_loss":
        return float(metrics.log_loss(y, probability, labels=[0, 1]))
    if metric == "roc_auc":
        return float(metrics.roc_auc_score(y, probability))
    return float(metrics.brier_score_loss(y, probability))


def too_many_folds(field: str, folds: int, rows: int, has: str = "has") -> str:
    """Say that the smaller class `has` fewer rows than a field asks for folds."""
    return (
        f"`{field}` is {folds}, but the smaller class {has} {rows} rows, and each fold needs one of each class. "
        f"Set `{field}` to at most {rows}, or bring more rows."
    )


@dataclass(frozen=True)
class _Fold:
    y: Any
    probability: Any
    losses: Any
    """Growth of the log-loss, float64 [permutations, features]."""


def _require_rows(y: Any, params: EvaluationParams) -> None:
    smallest = int(y.value_counts().min())
    if smallest < params.folds:
        raise DataError(too_many_folds("evaluation.folds", params.folds, smallest))


def _splits(X: Any, y: Any, params: EvaluationParams) -> Any:
    from sklearn.model_selection import RepeatedStratifiedKFold

    folds = RepeatedStratifiedKFold(n_splits=params.folds, n_repeats=params.repeats, random_state=params.seed)
    return enumerate(folds.split(X, y))


def _held_out(X: Any, y: Any, hyperparameters: Hyperparameters, params: EvaluationParams, split: Any) -> _Fold:
    import warnings

    import numpy as np

    number, (train, test) = split
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit on all rows reports what the solver has to say
        estimator = family_of(hyperparameters).fit(X.iloc[train], y.iloc[train], hyperparameters)
    labels = y.iloc[test].to_numpy()
    generator = np.random.default_rng([params.seed, number])
    losses = _permuted_losses(estimator, X.iloc[test], labels, params.permutations, generator)
    return _Fold(labels, estimator.predict_proba(X.iloc[test])[:, 1], losses)


def _permuted_losses(estimator: Any, X: Any, y: Any, permutations: int, generator: Any) -> Any:
    """Return how much the log-loss grows when a column is permuted, float64 [permutations, features].

    This is the permutation importance of Breiman (Random Forests, 2001) on held-out rows. The permuted copies are
    predicted in blocks of `_BLOCK_BYTES`, or one by one where a copy is larger.
    """
    import numpy as np
    import pandas as pd

    values = X.to_numpy()
    rows, features = values.shape
    permuted = np.tile(np.arange(features), permutations)  # the column that each copy permutes
    losses = []
    for block in np.split(permuted, range(0, len(permuted), max(1, _BLOCK_BYTES // values.nbytes))[1:]):
        copies = np.broadcast_to(values, (len(block), rows, features)).copy()
        for copy, feature in zip(copies, block, strict=True):
            copy[:, feature] = generator.permutation(copy[:, feature])
        stacked = pd.DataFrame(copies.reshape(-1, features), columns=X.columns)
        probability = estimator.predict_proba(stacked)[:, 1].reshape(len(block), rows)
        losses.append(_losses(y, probability).mean(axis=1))
    untouched = estimator.predict_proba(X)[:, 1]
    return np.concatenate(losses).reshape(permutations, features) - _losses(y, untouched).mean()


def _losses(y: Any, probability: Any) -> Any:
    import numpy as np

    tiny = np.finfo(np.float64).eps
    return -np.log(np.clip(np.where(y == 1, probability, 1 - probability), tiny, 1))


def _importances(features: Any, losses: Any) -> tuple[Importance, ...]:
    means, deviations = losses.mean(axis=0), losses.std(axis=0)
    found = [Importance(str(name), float(means[i]), float(deviations[i])) for i, name in enumerate(features)]
    return tuple(sorted(found, key=lambda importance: -importance.mean))
