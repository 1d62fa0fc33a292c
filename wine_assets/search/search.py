"""A search at work: its journal, its course and its backend brought together."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from wine_assets.data import dataset
from wine_assets.models.training import training_data
from wine_assets.search import objective
from wine_assets.search.backends.base import TrialBackend
from wine_assets.search.journal import Journal, prune
from wine_assets.search.params import SearchParams
from wine_assets.search.result import SearchResult, spread
from wine_assets.search.space import Space
from wine_assets.search.strategies import strategy
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import TrialResult

_DIGITS = 16


@dataclass(frozen=True)
class Search:
    """One search of one frame: the same one has the same journal, and goes on where an earlier run of it ended."""

    params: SearchParams
    journal: Journal
    context: TrialContext

    @classmethod
    def open(cls, params: SearchParams, frame: Any, searches: Path) -> "Search":
        """Return the search of a binarized `frame`, whose journal lies in a folder of its own below `searches`.

        Raise SearchError when a class has too few rows for its folds.
        """
        X, y = dataset.features_and_target(frame)
        objective.require_rows(y, params.objective, params.nested_folds)
        about = {
            "search": params.identity(),
            "data": training_data(frame).fingerprint,
            "version": objective.VERSION,
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:_DIGITS]
        families = Space.checked(params.space).names
        failures = params.failures
        context = TrialContext(X, y, params.objective, families, failures.memory_mib, failures.timeout_s)
        journal = Journal.open(searches / digest, about)
        prune(searches)
        return cls(params, journal, context)

    def run(self, backend: TrialBackend, heard: Callable[[Study, TrialResult], None]) -> SearchResult:
        """Run what of the search hasn't been run, and return what all of it came to.

        Raise FailedSearchError where too few trials came to a score, and ConflictError where another process is at it.
        """
        with self.journal.lock():
            study = self.study(heard)
            backend.run(study, self.context)
        return self.result(study)

    def study(self, heard: Callable[[Study, TrialResult], None], numbers: range | None = None) -> Study:
        """Return what hands out the trials of the search, or those of some numbers, that the journal doesn't have."""
        params = self.params
        space = Space.checked(params.space)
        chosen = strategy(params.strategy, space, params.objective.direction)
        study = Study(
            chosen,
            params.bounded,
            params.failures.retries,
            params.objective.direction,
            record=lambda result: self.journal.append(msgspec.structs.replace(result, limits=self._limits)),
            heard=lambda result: heard(study, result),
            numbers=numbers,
        )
        study.recall(result for result in self.journal.results() if self._counts(result, space))
        return study

    def result(self, study: Study) -> SearchResult:
        """Return what the search came to; raise FailedSearchError where too few trials came to a score."""
        result = SearchResult(study.results(), self.params.objective)
        result.require(self.params.failures.min_success_ratio)
        return result

    @property
    def _limits(self) -> tuple[float | None, float | None]:
        return self.params.failures.timeout_s, self.params.failures.memory_mib

    def _counts(self, result: TrialResult, space: Space) -> bool:
        """Tell whether a result of the journal counts: a failure doesn't where trials are now allowed something else.

        Nor does what this search can't have come to, in a journal that someone edited.
        """
        family = space.families.get(result.family)
        if result.number < 0 or family is None:
            return False
        if result.parameters.keys() != family.parameters.keys() | family.fixed.keys():
            return False
        if result.state == "failed":
            return result.limits == self._limits
        scored = self.params.objective
        return result.state == "pruned" or len(result.scores) == scored.folds * scored.repeats

    def sentence(self, result: SearchResult, outer_scores: Sequence[float] = ()) -> str:
        """Say what was searched, and what came of whole searches on rows that they had not seen."""
        nested = spread(outer_scores)
        outer = (
            f" Nested cross-validation over {len(outer_scores)} outer folds: {self.params.objective.metric} "
            f"{nested['mean']:.4f} ± {nested['standard_error']:.4f}."
            if nested
            else ""
        )
        asked, scored = self.params, self.params.objective
        times = "once" if scored.repeats == 1 else f"{scored.repeats} times"
        return (
            f"{len(result.trials):,} trials of {', '.join(self.context.families)} by the strategy "
            f"{asked.strategy.kind}: {len(result.finished):,} finished, {result.pruned:,} pruned, "
            f"{len(result.failed):,} failed. "
            f"{len(self.context.X):,} rows, each held out {times} by stratified {scored.folds}-fold cross-validation "
            f"(seed {scored.seed}).{outer}" + (f" {asked.exhaustion}" if asked.exhaustion else "")
        )
