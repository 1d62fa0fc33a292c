"""What a search makes as good as it can be: a held-out figure of a candidate, fold by fold."""

import enum
import math
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, ClassVar, Literal

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.errors import SearchError, TrainingError, WineAssetsError
from wine_assets.evaluation import cross_validation
from wine_assets.models.registry import family_of
from wine_assets.search.trials import Trial, TrialResult, failed

VERSION = f"1+scikit-learn-{version('scikit-learn')}"
"""What scores depend on but for the search and the rows: those of another version aren't compared with them."""
Metric = Literal["log_loss", "accuracy", "roc_auc", "brier_score"]
_LESS_IS_BETTER = ("log_loss", "brier_score")


class Direction(enum.IntEnum):
    """Which scores are better; a score times its direction is a loss, of which less is better."""

    MINIMIZE = 1
    MAXIMIZE = -1


class ObjectiveParams(StrictModel):
    """What candidates are compared by."""

    config_path: ClassVar[str] = "objective"

    metric: Metric = Field(default="log_loss", description="held-out figure that is to become as good as it can")
    folds: int = Field(default=5, ge=2, le=100, description="parts that the rows are split into; 2 to 100")
    repeats: int = Field(default=1, ge=1, le=100, description="how often that is done, shuffled anew; 1 to 100")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="seed of the shuffles; all candidates have the same")

    @property
    def direction(self) -> Direction:
        """Whether the metric is minimized or maximized."""
        return Direction.MINIMIZE if self.metric in _LESS_IS_BETTER else Direction.MAXIMIZE


def splits(y: Any, params: ObjectiveParams) -> list[tuple[Any, Any]]:
    """Return the rows to fit on and those to score on, int64 arrays, for each fold of stratified cross-validation.

    Raise SearchError when a class has fewer rows than there are folds.
    """
    import numpy as np
    from sklearn.model_selection import RepeatedStratifiedKFold

    require_rows(y, params)
    folds = RepeatedStratifiedKFold(n_splits=params.folds, n_repeats=params.repeats, random_state=params.seed)
    return list(folds.split(np.zeros(len(y)), y))


def require_rows(y: Any, params: ObjectiveParams, nested_folds: int = 0) -> None:
    """Raise SearchError when a class has fewer rows than folds, or so few beside an outer fold of `nested_folds`."""
    import numpy as np

    smallest = int(np.bincount(np.asarray(y)).min())
    if smallest < nested_folds:
        raise SearchError(cross_validation.too_many_folds("search.nested_folds", nested_folds, smallest))
    if smallest < params.folds:
        raise SearchError(cross_validation.too_many_folds("objective.folds", params.folds, smallest))
    left = smallest - math.ceil(smallest / nested_folds) if nested_folds else smallest
    if left < params.folds:
        kept = f"keeps, beside an outer fold of {nested_folds},"
        raise SearchError(cross_validation.too_many_folds("objective.folds", params.folds, left, kept))


class Objective:
    """Scores candidates on the same folds of one frame, float64 features X [n, features] and target y, int64 [n]."""

    def __init__(self, X: Any, y: Any, params: ObjectiveParams) -> None:
        self.params = params
        self._y = y.to_numpy()
        self._folds = [
            (X.iloc[train], y.iloc[train], X.iloc[test], self._y[test]) for train, test in splits(self._y, params)
        ]
        self._begun: tuple[tuple[int, int], dict[int, Any]] = (0, 0), {}

    def score(self, trial: Trial) -> TrialResult:
        """Return what comes of a trial; what the candidate raises is a failure, and not raised.

        It is given up, as `pruned`, after a fold that leaves its mean loss above the trial's threshold. Where it is to
        be fitted for some iterations alone, its estimators are kept: it goes on from them if it is the next trial, too.
        """
        began, scores = time.perf_counter(), []
        state, reason = "finished", ""
        try:
            for score in self._scores(trial):
                scores.append(score)
                if self._should_prune(trial, scores):
                    state = "pruned"
                    reason = f"After {len(scores)} folds it was worse than half of the trials before it."
                    break
        except Exception as error:  # noqa: BLE001 - whatever a candidate raises is what came of it
            return failed(trial, _sentence(error), time.perf_counter() - began)
        seconds = time.perf_counter() - began
        return TrialResult(
            trial.number,
            trial.attempt,
            trial.family,
            trial.parameters,
            state,  # type: ignore[arg-type]  # one of two literals
            tuple(scores),
            seconds,
            reason=reason,
        )

    def _scores(self, trial: Trial) -> Iterator[float]:
        import numpy as np
        import sklearn

        hyperparameters = trial.candidate.hyperparameters()
        family = family_of(hyperparameters)
        for fold, (_, _, held_out, labels) in enumerate(self._folds):
            with warnings.catch_warnings(), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
                warnings.simplefilter("ignore")  # the fit on all rows reports what the solver has to say
                estimator = self._fitted(trial, fold, family, hyperparameters)
            probability = estimator.predict_proba(held_out)[:, 1]
            if not np.isfinite(probability).all():
                raise TrainingError("A fold's predictions aren't all finite. Narrow the space.")
            with sklearn.config_context(skip_parameter_validation=True):
                score = cross_validation.score(self.params.metric, labels, probability)
            if not math.isfinite(score):
                raise TrainingError(f"The {self.params.metric} of a fold is {score}. Narrow the space.")
            yield score

    def _fitted(self, trial: Trial, fold: int, family: Any, hyperparameters: Any) -> Any:
        """Return the estimator of a fold, as far as the trial is to be fitted."""
        X, y, _, _ = self._folds[fold]
        if trial.iterations is None:
            return family.fit(X, y, hyperparameters)
        attempt = trial.number, trial.attempt
        if self._begun[0] != attempt:
            self._begun = attempt, {}
        estimators = self._begun[1]
        before = estimators.pop(fold, None)
        estimators[fold] = family.advance(before, X, y, hyperparameters, trial.iterations)
        return estimators[fold]

    def _should_prune(self, trial: Trial, scores: list[float]) -> bool:
        done = len(scores)
        if done > len(trial.pruning_thresholds) or done == len(self._folds):
            return False
        return self.params.direction * sum(scores) / done > trial.pruning_thresholds[done - 1]


def _sentence(error: Exception) -> str:
    said = str(error).strip().partition("\n")[0]
    return said if isinstance(error, WineAssetsError) else f"{type(error).__name__}: {said or 'no more is known'}"
