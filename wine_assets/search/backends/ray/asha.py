"""The backend `ray` with ASHA: Tune stops trials whose score, part of the way, is worse than that of most others.

Here a trial of Tune's is one of ours. Its actor advances it to one rung after another, all folds at each, and reports
their mean; Tune's scheduler stops it there, or has it go on. Actors are used again, with what they have loaded.
"""

from collections import deque
from typing import Any

import msgspec

from wine_assets.errors import SearchError
from wine_assets.models.base import Iterative
from wine_assets.models.registry import iterative_families
from wine_assets.search.backends.ray import cluster
from wine_assets.search.backends.ray import tune as ray_tune
from wine_assets.search.backends.ray.params import Asha, RayParams
from wine_assets.search.space import family_named
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers import remote_worker

TRIAL, OUTCOME, IS_WHOLE, LOSS, ITERATIONS, DONE = "trial", "outcome", "is_whole", "loss", "iterations", "done"
"""What the config of a trial of Tune's holds, and its results."""
_MOST_ITERATIONS = 1_000_000
"""More than any fit has: up to here Tune has rungs."""


def run_with_asha(study: Study, context: TrialContext, params: RayParams, asha: Asha) -> None:
    """Run trials until there are none, and stop those that ASHA finds hopeless.

    Raise SearchError where no family reports progress, and what a search on Ray raises without ASHA.
    """
    _refuse_without_progress(context)
    with cluster.cluster(params) as ray:
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler

        scheduler = ASHAScheduler(
            ITERATIONS,
            LOSS,
            "min",
            max_t=_MOST_ITERATIONS,
            grace_period=asha.grace_period,
            reduction_factor=asha.reduction_factor,
        )
        context = ray_tune.threaded(context, params)
        given = tune.with_parameters(_trainable(), context=context, asha=asha)
        searcher, most = _searcher(_Staged(study, asha)), cluster.parallel_trials(ray, params)
        ray_tune.tune_until_done(given, searcher, params, most, scheduler=scheduler, reuse_actors=True)


def _refuse_without_progress(context: TrialContext) -> None:
    if not any(isinstance(family_named(name), Iterative) for name in context.families):
        raise SearchError(
            f"`backend.asha` stops trials of families that report progress, got {', '.join(context.families)}, of "
            f"which none does. Search {' or '.join(iterative_families())}, or leave `backend.asha` out."
        )


def _rungs(trial: Trial, asha: Asha) -> list[int | None]:
    """Return how far a trial is fitted before each report; a family without progress fits the whole."""
    family = family_named(trial.family)
    if not isinstance(family, Iterative):
        return [None]
    return [*asha.rungs(family.iterations(trial.candidate.hyperparameters()))]


class _Stages:
    """What Ray Tune calls a trainable, but for its base class; a step comes to the next rung."""

    def setup(self, config: dict[str, Any], context: TrialContext, asha: Asha) -> None:
        """Take note of what trials have in common, and of the first."""
        self._context, self._asha = context, asha
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial."""
        self._trial = msgspec.json.decode(new_config[TRIAL], type=Trial)
        self._rungs = deque(_rungs(self._trial, self._asha))
        self._seconds = self._memory_mib = 0.0
        return True

    def step(self) -> dict[str, Any]:
        """Advance to the next rung, and report the mean over all folds there."""
        iterations = self._rungs.popleft()
        asked = msgspec.structs.replace(
            self._trial, iterations=iterations, spent_s=self._seconds, pruning_thresholds=()
        )
        outcome = self._with_what_it_took(remote_worker.run_trial(asked, self._context, self._of_this_search))
        is_scored = outcome.state == "finished"
        is_whole = not self._rungs or not is_scored
        return {
            OUTCOME: msgspec.json.encode(outcome).decode(),
            IS_WHOLE: is_whole,
            LOSS: self._context.params.direction * outcome.mean if is_scored else float("inf"),
            ITERATIONS: iterations if iterations is not None and is_scored else 0,  # at 0 nothing is compared
            DONE: is_whole,
        }

    def cleanup(self) -> None:
        """End the worker process."""
        remote_worker.release()

    _of_this_search = "asha"
    """One actor serves one search."""

    def _with_what_it_took(self, outcome: TrialResult) -> TrialResult:
        self._seconds += outcome.seconds
        self._memory_mib = max(self._memory_mib, outcome.memory_mib)
        return msgspec.structs.replace(outcome, seconds=self._seconds, memory_mib=self._memory_mib)


def _trainable() -> type:
    from ray import tune

    return type("Stages", (_Stages, tune.Trainable), {})


class _Staged:
    """The trials that Tune runs: gives it the study's, and the study what came of them."""

    def __init__(self, study: Study, asha: Asha) -> None:
        self._study, self._asha = study, asha
        self._running: dict[str, Trial] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no trial runs, so that none can come up again."""
        return not self._running

    def begun(self, name: str) -> Trial | None:
        """Return the next trial, by Tune's name for it from now on."""
        trial = self._study.ask(complex_first=True)
        if trial is not None:
            self._running[name] = trial
        return trial

    def ended(self, name: str, result: dict[str, Any] | None) -> None:
        """Take note of a trial that was run to its end, was stopped at a rung, or has no result as its actor died."""
        trial = self._running.pop(name)
        if result is None:
            self._study.tell(failed(trial, ray_tune.DIED))
            return
        outcome = msgspec.json.decode(result[OUTCOME], type=TrialResult)
        self._study.tell(outcome if result[IS_WHOLE] else self._pruned(outcome, trial, result[ITERATIONS]))

    def _pruned(self, outcome: TrialResult, trial: Trial, iterations: int) -> TrialResult:
        rungs = _rungs(trial, self._asha)
        reason = (
            f"ASHA stopped it after {iterations} of {rungs[-1]} iterations, at rung {rungs.index(iterations) + 1}: of "
            f"the trials that came as far, one in {self._asha.reduction_factor} goes on."
        )
        return msgspec.structs.replace(outcome, state="pruned", reason=reason)


def _searcher(staged: _Staged) -> Any:
    """Return what Ray Tune asks for trials and tells what came of them."""
    unsaved = ray_tune.unsaved_searcher()

    class Strategy(unsaved):  # type: ignore[misc, valid-type]  # a class that is made when Ray is there
        def suggest(self, trial_id: str) -> Any:
            trial = staged.begun(trial_id)
            if trial is not None:
                return {TRIAL: msgspec.json.encode(trial).decode()}
            return unsaved.FINISHED if staged.is_idle else None

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's
            staged.ended(trial_id, None if error else result)

    return Strategy()
