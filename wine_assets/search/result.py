"""What a search came to: every trial, the best one, and the simplest that is as good for all one can tell."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wine_assets.errors import FailedSearchError
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.trials import TrialResult

_SHOWN_REASONS = 3


@dataclass(frozen=True)
class SearchResult:
    """The trials of a search that count, in the order of their numbers."""

    trials: Sequence[TrialResult]
    objective: ObjectiveParams

    @property
    def finished(self) -> list[TrialResult]:
        """The trials that came to a score on every fold."""
        return [trial for trial in self.trials if trial.state == "finished"]

    @property
    def failed(self) -> list[TrialResult]:
        """The trials that came to none."""
        return [trial for trial in self.trials if trial.state == "failed"]

    @property
    def pruned(self) -> int:
        """How many trials were pruned."""
        return sum(trial.state == "pruned" for trial in self.trials)

    def loss(self, trial: TrialResult) -> float:
        """Return the mean loss of a trial, infinite without a score."""
        return self.objective.direction * trial.mean if trial.state == "finished" else math.inf

    @property
    def best(self) -> TrialResult:
        """The trial with the best mean score; of equal ones, the first."""
        return min(self.finished, key=lambda trial: (self.loss(trial), trial.number))

    @property
    def simplest(self) -> TrialResult:
        """The simplest trial within one standard error of the best one.

        This is the one-standard-error rule of Breiman et al. (Classification and Regression Trees, 1984). What is
        simpler is for each family to say; the families themselves are ordered from simple to complex.
        """
        error = self.best.standard_error
        limit = self.loss(self.best) + (0.0 if math.isnan(error) else error)
        close = [trial for trial in self.finished if self.loss(trial) <= limit]
        return min(close, key=lambda trial: (trial.candidate.complexity, self.loss(trial), trial.number))

    def require(self, min_success_ratio: float) -> None:
        """Raise FailedSearchError where too few trials came to a score, or none."""
        if not self.trials:
            raise FailedSearchError("No trial was begun before the time was up. Raise `budget.seconds`.")
        good = len(self.trials) - len(self.failed)
        if not self.finished or good < min_success_ratio * len(self.trials):
            raise FailedSearchError(
                f"{len(self.failed)} of {len(self.trials)} trials failed, and `failures.min_success_ratio` is "
                f"{min_success_ratio:g}. {self._reasons()} Narrow the space, or give the trials more time or memory."
            )

    def table(self) -> Any:
        """Return a frame with one row a trial: its parameters, fold scores, mean, seconds, memory, state and reason."""
        import pandas as pd

        names = list(dict.fromkeys(name for trial in self.trials for name in trial.parameters))
        folds = self.objective.folds * self.objective.repeats
        return pd.DataFrame([_row(trial, names, folds) for trial in self.trials])

    def summary(self) -> dict[str, Any]:
        """Return the trial as plain values."""
        return {
            "metric": self.objective.metric,
            "trials": len(self.trials),
            "finished": len(self.finished),
            "pruned": self.pruned,
            "failed": len(self.failed),
            "seconds_of_trials": round(sum(trial.seconds for trial in self.trials), 3),
            "best": _chosen(self.best),
            "simplest": _chosen(self.simplest),
        }

    def _reasons(self) -> str:
        reasons = list(dict.fromkeys(trial.reason for trial in self.failed))
        more = f" And {len(reasons) - _SHOWN_REASONS} more reasons." if len(reasons) > _SHOWN_REASONS else ""
        return " ".join(reasons[:_SHOWN_REASONS]) + more if reasons else "No trial was finished."


def spread(scores: Sequence[float]) -> dict[str, Any] | None:
    """Return scores with their mean and its standard error, None for none; two of them at least have one."""
    if not scores:
        return None
    mean = sum(scores) / len(scores)
    variance = sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
    return {"mean": mean, "standard_error": (variance / len(scores)) ** 0.5, "scores": list(scores)}


def _chosen(trial: TrialResult) -> dict[str, Any]:
    return {
        "number": trial.number,
        "family": trial.family,
        "hyperparameters": trial.candidate.hyperparameters().model_dump(mode="json"),
        "searched": dict(trial.parameters),
        "mean": trial.mean,
        "standard_error": trial.standard_error,
    }


def _row(trial: TrialResult, names: Sequence[str], folds: int) -> dict[str, Any]:
    scores = {f"fold_{fold}": trial.scores[fold] if fold < len(trial.scores) else None for fold in range(folds)}
    return {
        "number": trial.number,
        "state": trial.state,
        "family": trial.family,
        **{name: trial.parameters.get(name) for name in names},
        "mean": trial.mean if trial.scores else None,
        "standard_error": trial.standard_error,
        **scores,
        "seconds": trial.seconds,
        "memory_mib": trial.memory_mib,
        "attempt": trial.attempt,
        "reason": trial.reason,
        "parameters": json.dumps(trial.parameters, sort_keys=True),
    }
