"""The backend `ray`: Ray Tune, to which our strategy is a searcher, on its own cluster or one by its address.

What Tune calls a trial is here a actor: an actor that runs one batch of our trials after another until there are no
more, so that it, and what it has loaded, serves the whole search. Tune keeps the actors running, replaces those that
die and brings what they report; an actor without cores, the queue, is where they fetch their batches.
"""

import dataclasses
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from wine_assets.search.backends.ray import cluster
from wine_assets.search.backends.ray.params import RayParams
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers import remote_worker

ACTOR, OUTCOMES, DONE = "actor", "outcomes", "done"
"""What a actor's config holds, and its results; outcomes as JSON, since Tune takes objects apart."""
REPORTED_S = 1.0
"""The seconds of work after which a actor reports, and of which no more is lost when its actor dies."""
DIED = "The worker of Ray that it ran on ended before it did."
"""What is said of a trial whose actor is gone."""


def run_on_ray(study: Study, context: TrialContext, params: RayParams) -> None:
    """Run trials until there are none, in batches, on actors of Ray Tune.

    Raise MissingExtraError without Ray, FailedSearchError for a cluster that isn't there or has no room for a trial.
    """
    with cluster.cluster(params) as ray:
        from ray import tune

        most = cluster.parallel_trials(ray, params)
        queue = _task_queue(ray)
        given = tune.with_parameters(_actor_class(), context=threaded(context, params), queue=queue)
        size = 1 if study.learns else params.batch_trials
        tune_until_done(given, _searcher(_Actors(study, queue, size, most)), params, most)


def _task_queue(ray: Any) -> Any:
    """Return a queue on the node of the search itself: with any other it might be lost.

    That node is asked to place it, because it is to have a byte there. What is to have nothing Ray lets any node place,
    which keeps it when it is new and hasn't heard of the others.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, memory=1, scheduling_strategy=here)(_TaskQueue).remote()


def threaded(context: TrialContext, params: RayParams) -> TrialContext:
    """Return a context whose trials compute with as many threads as they have cores."""
    return dataclasses.replace(context, threads=params.trial.threads)


def tune_until_done(trainable: Any, searcher: Any, params: RayParams, most: int, **asked: Any) -> None:
    """Have Tune run trainables, so many at the same time, until the searcher has no more of them."""
    from ray import tune

    with tempfile.TemporaryDirectory(prefix="wine-search-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, _placed(params)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=most,
                trial_dirname_creator=lambda trial: trial.trial_id,
                **asked,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        tuner.fit()


def _placed(params: RayParams) -> dict[str, float]:
    """Return the resources of a trial by the names that Tune has for them."""
    return {name.lower(): amount for name, amount in params.trial.resources.items()}


class _TaskQueue:
    """Where actors fetch their batches: an actor that waits with those for whom there is none yet."""

    def __init__(self) -> None:
        self._batches: dict[str, Any] = {}

    async def put(self, actor: str, batch: str | None) -> None:
        """Leave a batch for a actor; None sends it home."""
        await self._of(actor).put(batch)

    async def take(self, actor: str) -> str | None:
        """Return a actor's next batch when there is one."""
        batch: str | None = await self._of(actor).get()
        return batch

    async def withdraw(self, actor: str) -> bool:
        """Take a actor's batch back, and return whether it was still there."""
        batches = self._of(actor)
        is_there = not batches.empty()
        if is_there:
            batches.get_nowait()
        return is_there

    def _of(self, actor: str) -> Any:
        import asyncio

        return self._batches.setdefault(actor, asyncio.Queue())


class _Actor:
    """What Ray Tune calls a trainable, but for its base class; a step reports about a second's work."""

    def setup(self, config: dict[str, Any], context: TrialContext, queue: Any) -> None:
        """Take note of whom to ask for trials, and of what they have in common."""
        self._actor, self._context, self._queue = config[ACTOR], context, queue
        self._trials: deque[Trial] = deque()

    def step(self) -> dict[str, Any]:
        """Run trials of the batch, or of a new one once that is done."""
        began, outcomes = time.monotonic(), list[TrialResult]()
        if not self._trials and not self._fetch():
            return {OUTCOMES: "[]", DONE: True}
        while self._trials and time.monotonic() - began < REPORTED_S:
            outcomes.append(remote_worker.run_trial(self._trials.popleft(), self._context, self._actor))
        return {OUTCOMES: msgspec.json.encode(outcomes).decode(), DONE: False}

    def cleanup(self) -> None:
        """End the worker process."""
        remote_worker.release()

    def _fetch(self) -> bool:
        import ray

        batch = ray.get(self._queue.take.remote(self._actor))
        self._trials = deque(msgspec.json.decode(batch, type=list[Trial])) if batch else deque()
        return batch is not None


def _actor_class() -> type:
    from ray import tune

    return type("Actor", (_Actor, tune.Trainable), {})


class _Actors:
    """The actors, and which trials each of them has: hands them batches, and the study their outcomes."""

    def __init__(self, study: Study, queue: Any, size: int, most: int) -> None:
        self._study, self._queue, self._size, self._most = study, queue, size, most
        self._running: dict[str, list[Trial]] = {}
        self._unbegun: deque[Trial] = deque()
        self._heard: set[str] = set()
        """The actors that have reported something: others may be waiting for a node that is gone."""

    def opened(self, actor: str) -> bool:
        """Return whether there is anything to do for a new actor, which then has it."""
        self._running[actor] = []
        self._fill()
        if self._running[actor]:
            return True
        del self._running[actor]
        return False

    @property
    def are_all_closed(self) -> bool:
        """Whether no actor is left, and so no trial either."""
        return not self._running

    def reported(self, actor: str, outcomes: list[TrialResult]) -> None:
        """Take note of outcomes; give the actors that have nothing to do something, or send all of them home."""
        self._heard.add(actor)
        done = {outcome.number for outcome in outcomes}
        self._running[actor] = [trial for trial in self._running[actor] if trial.number not in done]
        for outcome in outcomes:
            self._study.tell(outcome)
        self._fill()
        if not any(self._running.values()):
            for idle in self._running:
                self._queue.put.remote(idle, None)

    def died(self, actor: str) -> None:
        """Take note of a actor that died: of its trials the first was being run, and the others go to other actors."""
        trials = self._running.pop(actor, [])
        self._unbegun.extend(trials[1:])
        for trial in trials[:1]:
            self._study.tell(failed(trial, DIED))
        self._fill()

    def _fill(self) -> None:
        for actor in [actor for actor, trials in self._running.items() if not trials]:
            self._running[actor] = [*self._batch()] or self._withdrawn(actor)
            if self._running[actor]:
                self._queue.put.remote(actor, msgspec.json.encode(self._running[actor]).decode())

    def _withdrawn(self, actor: str) -> list[Trial]:
        """Return the trials of a actor that has not come to take them, for one that waits for some."""
        import ray

        for other in self._running.keys() - self._heard if actor in self._heard else ():
            if self._running[other] and ray.get(self._queue.withdraw.remote(other)):
                trials, self._running[other] = self._running[other], []
                return trials
        return []

    def _batch(self) -> Iterator[Trial]:
        """Yield up to as many trials as a batch has, fewer where a actor would have nothing to do otherwise."""
        left = self._study.left()
        for _ in range(self._size if left is None else max(1, min(self._size, left // (2 * self._most)))):
            trial = self._unbegun.popleft() if self._unbegun else self._study.ask(complex_first=True)
            if trial is None:
                return
            yield trial


def unsaved_searcher() -> Any:
    """Return the base of searchers that Ray Tune keeps no copy of: the journal is what a search goes on from."""
    from ray.tune.search import Searcher

    class Unsaved(Searcher):
        def save(self, checkpoint_path: str) -> None:
            """Write nothing."""

        def restore(self, checkpoint_path: str) -> None:
            """Read nothing."""

        def __reduce__(self) -> Any:
            """Leave out all of it: what hears of outcomes has loggers and files, which can't be pickled."""
            return object, ()

    return Unsaved


def _searcher(actors: _Actors) -> Any:
    """Return what Ray Tune asks for actors and tells of what they report."""
    unsaved = unsaved_searcher()

    class Strategy(unsaved):  # type: ignore[misc, valid-type]  # a class that is made when Ray is there
        def suggest(self, trial_id: str) -> Any:
            if actors.opened(trial_id):
                return {ACTOR: trial_id}
            return unsaved.FINISHED if actors.are_all_closed else None

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            actors.reported(trial_id, msgspec.json.decode(result[OUTCOMES], type=list[TrialResult]))

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's
            actors.died(trial_id)

    return Strategy()
