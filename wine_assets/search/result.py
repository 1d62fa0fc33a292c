"""What a search came to: every trial, the best one, and the simplest that is as good for all one can tell."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wine_assets.errors import FailedSearchError
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.trials import Outcome

_SHOWN_REASONS = 3


@dataclass(frozen=True)
class SearchResult:
    """The trials of a search that count, in the order of their numbers."""

    outcomes: Sequence[Outcome]
    objective: ObjectiveParams

    @property
    def finished(self) -> list[Outcome]:
        """The trials that came to a score on every fold."""
        return [outcome for outcome in self.outcomes if outcome.state == "finished"]

    @property
    def failed(self) -> list[Outcome]:
        """The trials that came to none."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    @property
    def pruned(self) -> int:
        """How many trials were pruned."""
        return sum(outcome.state == "pruned" for outcome in self.outcomes)

    def loss(self, outcome: Outcome) -> float:
        """Return the mean loss of a trial, infinite without a score."""
        return self.objective.sign * outcome.mean if outcome.state == "finished" else math.inf

    @property
    def best(self) -> Outcome:
        """The trial with the best mean score; of equal ones, the first."""
        return min(self.finished, key=lambda outcome: (self.loss(outcome), outcome.number))

    @property
    def simplest(self) -> Outcome:
        """The simplest trial within one standard error of the best one.

        This is the one-standard-error rule of Breiman et al. (Classification and Regression Trees, 1984). What is
        simpler is for each family to say; the families themselves are ordered from simple to complex.
        """
        error = self.best.standard_error
        limit = self.loss(self.best) + (0.0 if math.isnan(error) else error)
        close = [outcome for outcome in self.finished if self.loss(outcome) <= limit]
        return min(close, key=lambda outcome: (outcome.candidate.complexity, self.loss(outcome), outcome.number))

    def require(self, min_success_ratio: float) -> None:
        """Raise FailedSearchError where too few trials came to a score, or none."""
        if not self.outcomes:
            raise FailedSearchError("No trial was begun before the time was up. Raise `budget.seconds`.")
        good = len(self.outcomes) - len(self.failed)
        if not self.finished or good < min_success_ratio * len(self.outcomes):
            raise FailedSearchError(
                f"{len(self.failed)} of {len(self.outcomes)} trials failed, and `failures.min_success_ratio` is "
                f"{min_success_ratio:g}. {self._reasons()} Narrow the space, or give the trials more time or memory."
            )

    def table(self) -> Any:
        """Return a frame with one row a trial: its parameters, fold scores, mean, seconds, memory, state and reason."""
        import pandas as pd

        names = list(dict.fromkeys(name for outcome in self.outcomes for name in outcome.parameters))
        folds = self.objective.folds * self.objective.repeats
        return pd.DataFrame([_row(outcome, names, folds) for outcome in self.outcomes])

    def summary(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        return {
            "metric": self.objective.metric,
            "trials": len(self.outcomes),
            "finished": len(self.finished),
            "pruned": self.pruned,
            "failed": len(self.failed),
            "seconds_of_trials": round(sum(outcome.seconds for outcome in self.outcomes), 3),
            "best": _chosen(self.best),
            "simplest": _chosen(self.simplest),
        }

    def _reasons(self) -> str:
        reasons = list(dict.fromkeys(outcome.reason for outcome in self.failed))
        more = f" And {len(reasons) - _SHOWN_REASONS} more reasons." if len(reasons) > _SHOWN_REASONS else ""
        return " ".join(reasons[:_SHOWN_REASONS]) + more if reasons else "No trial was finished."


def spread(scores: Sequence[float]) -> dict[str, Any] | None:
    """Return scores with their mean and its standard error, None for none; two of them at least have one."""
    if not scores:
        return None
    mean = sum(scores) / len(scores)
    variance = sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
    return {"mean": mean, "standard_error": (variance / len(scores)) ** 0.5, "scores": list(scores)}


def _chosen(outcome: Outcome) -> dict[str, Any]:
    return {
        "number": outcome.number,
        "family": outcome.family,
        "hyperparameters": outcome.candidate.hyperparameters().model_dump(mode="json"),
        "searched": dict(outcome.parameters),
        "mean": outcome.mean,
        "standard_error": outcome.standard_error,
    }


def _row(outcome: Outcome, names: Sequence[str], folds: int) -> dict[str, Any]:
    scores = {f"fold_{fold}": outcome.scores[fold] if fold < len(outcome.scores) else None for fold in range(folds)}
    return {
        "number": outcome.number,
        "state": outcome.state,
        "family": outcome.family,
        **{name: outcome.parameters.get(name) for name in names},
        "mean": outcome.mean if outcome.scores else None,
        "standard_error": outcome.standard_error,
        **scores,
        "seconds": outcome.seconds,
        "memory_mib": outcome.memory_mib,
        "attempt": outcome.attempt,
        "reason": outcome.reason,
        "parameters": json.dumps(outcome.parameters, sort_keys=True),
    }
