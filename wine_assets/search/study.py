"""The course of a search: what is tried next, again or not at all, whoever runs the trials."""

import bisect
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.errors import WineAssetsError
from wine_assets.search.objective import Direction
from wine_assets.search.strategies import Strategy
from wine_assets.search.trials import Trial, TrialResult

PRUNING_TRIALS = 5
"""How many trials have to be finished before one is given up for being worse than their median."""
FORESEEN_TRIALS = 1_000
"""The most trials of a search that are put in an order by what they will cost."""


class Budget(StrictModel):
    """When a search ends."""

    config_path: ClassVar[str] = "budget"

    trials: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="most trials; empty for all of a grid, and for 30 draws unless there is another end",
    )
    seconds: float | None = Field(
        default=None, gt=0, description="seconds after which no trial is begun; empty for no such end"
    )
    patience: int | None = Field(
        default=None, ge=1, description="trials without a better one after which the search ends; empty for never"
    )


class Failures(StrictModel):
    """What happens to trials that fail."""

    config_path: ClassVar[str] = "failures"

    retries: int = Field(default=1, ge=0, le=100, description="how often a failed trial is tried again")
    timeout_s: float | None = Field(
        default=None, gt=0, description="seconds after which a trial is stopped and counts as failed; empty for never"
    )
    memory_mib: int | None = Field(
        default=None, ge=64, description="MiB that a trial may add to its process; empty for no limit"
    )
    min_success_ratio: float = Field(
        default=0.5, ge=0, le=1, description="share of trials that have to come to a score for the search to succeed"
    )


class Study:
    """Hands out trials and takes results; a backend does the rest.

    Trials are numbered in the order in which they are chosen. With patience, the search ends at the first number
    at which that many trials in a row were no better, whichever way the trials before it were spread over workers;
    what was scored beyond it is left out of the result.
    """

    def __init__(  # noqa: PLR0913 - what a course is made of
        self,
        strategy: Strategy,
        budget: Budget,
        retries: int,
        direction: Direction,
        *,
        record: Callable[[TrialResult], None] = lambda _: None,
        heard: Callable[[TrialResult], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        numbers: range | None = None,
    ) -> None:
        self._record, self._heard = record, heard
        self._strategy, self._budget, self._retries, self._direction = strategy, budget, retries, direction
        self._clock, self._began = clock, clock()
        self._again: deque[Trial] = deque()
        self._numbers = numbers
        self._ascending = iter(numbers) if numbers is not None else itertools.count()
        self._complex_first: Iterator[int] | None = None
        self._begun: set[int] = set()
        self._is_exhausted = False
        self.ended: dict[int, TrialResult] = {}
        self._failing: dict[int, TrialResult] = {}
        self._attempts: dict[int, int] = {}
        self._prefix = 0
        self.best: float | None = None
        """The best mean score so far, None before the first."""
        self._best, self._best_at = float("inf"), -1
        self.stopped_at: int | None = None
        """The number of trials that count, once patience has run out."""
        self._folds: list[list[float]] = []
        """The mean losses after each fold of the trials that were finished, ascending."""

    def recall(self, results: Iterable[TrialResult]) -> None:
        """Take note of what an earlier run of this search came to, as far as this one goes.

        A trial that came to something has ended, however many attempts of it failed before.
        """
        results = [result for result in results if not self._is_beyond(result.number)]
        better = {result.number for result in results if result.state != "failed"}
        for result in results:
            if result.number in self.ended or (result.state == "failed" and result.number in better):
                continue
            self._attempts[result.number] = max(result.attempt, self._attempts.get(result.number, 0))
            if result.state != "failed" or result.attempt > self._retries:
                self._end(result)
            else:
                self._failing[result.number] = result

    def ask(self, *, complex_first: bool = False) -> Trial | None:
        """Return a trial to run, None when there is none to begin.

        Of a search whose trials are all known from the start, the most complex one is next for who asks for that: it
        is likely to take longest, and begun last it would run on alone when all others have ended. (Longest
        processing time first; Graham, Bounds on Multiprocessing Timing Anomalies, 1969.)
        """
        while self._again:
            trial = self._again.popleft()
            if self.stopped_at is None:
                return trial
        number = self._next_number(complex_first=complex_first)
        if number is None:
            return None
        candidate = self._strategy.ask(number)
        if candidate is None:
            self._is_exhausted = True
            return None
        attempt = self._attempts.get(number, 0) + 1
        return Trial(number, candidate.family, dict(candidate.parameters), attempt, self._pruning_thresholds())

    def tell(self, result: TrialResult) -> None:
        """Take note of a result, recorded first and heard of last: the trial has ended, or is tried again."""
        self._record(result)
        self._attempts[result.number] = result.attempt
        if result.state == "failed" and result.attempt <= self._retries and not self._is_late():
            self._again.append(
                Trial(result.number, result.family, result.parameters, result.attempt + 1, self._pruning_thresholds())
            )
        else:
            self._end(result)
        self._heard(result)

    @property
    def learns(self) -> bool:
        """Whether what is tried next depends on what came of the trials before."""
        return self._strategy.learns

    def results(self) -> list[TrialResult]:
        """Return the results that are the search's, by number; a failure that wasn't tried again is one."""
        end = self.stopped_at if self.stopped_at is not None else float("inf")
        known = self._failing | self.ended
        return [known[number] for number in sorted(known) if number < end]

    def left(self) -> int | None:
        """Return how many trials are still to come, None where that isn't known."""
        total = self.total
        return None if total is None else max(total - len(self.ended), 0)

    @property
    def total(self) -> int | None:
        """How many trials there are at most, None where that isn't known."""
        known = [number for number in (self._budget.trials, self._strategy.size) if number is not None]
        return min(known) if known else None

    def _next_number(self, *, complex_first: bool) -> int | None:
        if self._is_exhausted or self.stopped_at is not None or self._is_late():
            return None
        numbers = self._by_complexity() if complex_first else self._ascending
        for number in numbers:
            if self._is_beyond(number):
                return None
            if number not in self.ended and number not in self._begun:
                self._begun.add(number)
                return number
        return None

    def _by_complexity(self) -> Iterator[int]:
        """Return the numbers of trials, the most complex first where all of them are known and none may be left out."""
        if self._complex_first is None:
            total, budget = self.total, self._budget
            is_open = self.learns or budget.patience is not None or budget.seconds is not None
            if is_open or total is None or total > FORESEEN_TRIALS:
                self._complex_first = self._ascending
            else:
                numbers = range(total) if self._numbers is None else self._numbers
                self._complex_first = iter(sorted(numbers, key=self._complexity, reverse=True))
        return self._complex_first

    def _complexity(self, number: int) -> tuple[int, float]:
        candidate = self._strategy.ask(number)
        try:
            return (-1, 0.0) if candidate is None else candidate.complexity
        except WineAssetsError:  # its trial will fail, and say why
            return (-1, 0.0)

    def _is_beyond(self, number: int) -> bool:
        return self._budget.trials is not None and number >= self._budget.trials

    def _is_late(self) -> bool:
        seconds = self._budget.seconds
        return seconds is not None and self._clock() - self._began > seconds

    def _end(self, result: TrialResult) -> None:
        self.ended[result.number] = result
        self._strategy.tell(result)
        if result.state == "finished":
            self._keep(result)
        while self.stopped_at is None and self._prefix in self.ended:
            self._look_at(self.ended[self._prefix])

    def _look_at(self, result: TrialResult) -> None:
        """Look at the result after the last one before which none is missing."""
        loss = self._direction * result.mean if result.state == "finished" else float("inf")
        if loss < self._best:
            self._best, self._best_at = loss, self._prefix
        self._prefix += 1
        patience = self._budget.patience
        if patience is not None and self._prefix - 1 - self._best_at >= patience:
            self.stopped_at = self._prefix

    def _keep(self, result: TrialResult) -> None:
        """Take note of the score, and of those of its folds if trials are given up by them."""
        if self.best is None or self._direction * result.mean < self._direction * self.best:
            self.best = result.mean
        if not self._strategy.prunes:
            return
        scores, total = result.scores, 0.0
        self._folds += [[] for _ in range(len(scores) - len(self._folds))]
        for fold, score in enumerate(scores):
            total += self._direction * score
            bisect.insort(self._folds[fold], total / (fold + 1))

    def _pruning_thresholds(self) -> tuple[float, ...]:
        """Return the median of the mean losses after each fold but the last of the trials that were finished.

        This is the median stopping rule (Golovin et al., Google Vizier, 2017), with folds for steps.
        """
        if not self._folds or len(self._folds[0]) < PRUNING_TRIALS:
            return ()
        return tuple(map(_median, self._folds[:-1]))


def _median(ascending: Sequence[float]) -> float:
    half, odd = divmod(len(ascending), 2)
    return ascending[half] if odd else (ascending[half - 1] + ascending[half]) / 2
