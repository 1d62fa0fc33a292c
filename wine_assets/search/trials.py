"""One trial: a candidate that is scored, fold by fold, and what came of it."""

from typing import Any, Literal

import msgspec

from wine_assets.search.space import Candidate

State = Literal["finished", "pruned", "failed"]


class Trial(msgspec.Struct, frozen=True):
    """A candidate to be scored."""

    number: int
    family: str
    parameters: dict[str, Any]
    attempt: int = 1
    pruning_thresholds: tuple[float, ...] = ()
    """The mean loss, after each fold but the last, above which the trial is given up; empty for never."""
    iterations: int | None = None
    """How far it is fitted, by a family whose fits are made of iterations; None for the whole fit."""
    spent_s: float = 0.0
    """The seconds that it took to come to where it is."""

    @property
    def candidate(self) -> Candidate:
        """The candidate that is scored."""
        return Candidate(self.family, self.parameters)


class TrialResult(msgspec.Struct, frozen=True):
    """What came of one attempt at a trial; a failure is one, too."""

    number: int
    attempt: int
    family: str
    parameters: dict[str, Any]
    state: State
    scores: tuple[float, ...] = ()
    """The score of each fold that was held out."""
    seconds: float = 0.0
    """Wall seconds of the attempt."""
    memory_mib: float = 0.0
    """Peak resident memory of its process, in MiB; 0 where it isn't known."""
    reason: str = ""
    """Why it failed or was given up, in a sentence."""
    limits: tuple[float | None, float | None] = (None, None)
    """The seconds and MiB that the attempt was allowed, None for no limit; a journal says so of each."""

    @property
    def candidate(self) -> Candidate:
        """The candidate that was scored."""
        return Candidate(self.family, self.parameters)

    @property
    def mean(self) -> float:
        """The mean score over the folds; NaN without any."""
        return sum(self.scores) / len(self.scores) if self.scores else float("nan")

    @property
    def standard_error(self) -> float:
        """The standard error of the mean over the folds; NaN for fewer than two.

        The standard deviation over folds, of one degree of freedom less, over the root of their number. Folds share
        training rows, so that it is too small rather than too large (Bengio and Grandvalet, 2004).
        """
        count = len(self.scores)
        if count < 2:  # noqa: PLR2004 - one score has no spread
            return float("nan")
        mean = self.mean
        variance = sum((score - mean) ** 2 for score in self.scores) / (count - 1)
        return float((variance / count) ** 0.5)


def failed(trial: Trial, reason: str, seconds: float = 0.0, memory_mib: float = 0.0) -> TrialResult:
    """Return the result of an attempt that came to no score."""
    return TrialResult(
        trial.number,
        trial.attempt,
        trial.family,
        trial.parameters,
        "failed",
        seconds=seconds,
        memory_mib=memory_mib,
        reason=reason,
    )
