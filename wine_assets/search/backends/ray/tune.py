"""The backend `ray`: Ray Tune, to which our strategy is a searcher, on its own cluster or one by its address.

What Tune calls a trial is here a lane: an actor that runs one batch of our trials after another until there are no
more, so that it, and what it has loaded, serves the whole search. Tune keeps the lanes running, replaces those that
die and brings what they report; an actor without cores, the desk, is where they fetch their batches.
"""

import dataclasses
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from wine_assets.search.backends.ray import cluster
from wine_assets.search.backends.registry import RayBackend
from wine_assets.search.study import Conductor
from wine_assets.search.trial_context import Workload
from wine_assets.search.trials import Outcome, Trial, failed
from wine_assets.search.workers import remote_worker

LANE, OUTCOMES, DONE = "lane", "outcomes", "done"
"""What a lane's config holds, and its results; outcomes as JSON, since Tune takes objects apart."""
REPORTED_S = 1.0
"""The seconds of work after which a lane reports, and of which no more is lost when its actor dies."""
DIED = "The worker of Ray that it ran on ended before it did."
"""What is said of a trial whose actor is gone."""


def run_on_ray(conductor: Conductor, workload: Workload, params: RayBackend) -> None:
    """Run trials until there are none, in batches, on lanes of Ray Tune.

    Raise MissingExtraError without Ray, FailedSearchError for a cluster that isn't there or has no room for a trial.
    """
    with cluster.cluster(params) as ray:
        from ray import tune

        most = cluster.lanes(ray, params)
        desk = _desk(ray)
        given = tune.with_parameters(_lane_class(), workload=threaded(workload, params), desk=desk)
        size = 1 if conductor.learns else params.batch_trials
        tune_until_done(given, _searcher(_Lanes(conductor, desk, size, most)), params, most)


def _desk(ray: Any) -> Any:
    """Return a desk on the node of the search itself: with any other it might be lost.

    That node is asked to place it, because it is to have a byte there. What is to have nothing Ray lets any node place,
    which keeps it when it is new and hasn't heard of the others.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, memory=1, scheduling_strategy=here)(_Desk).remote()


def threaded(workload: Workload, params: RayBackend) -> Workload:
    """Return a workload whose trials compute with as many threads as they have cores."""
    return dataclasses.replace(workload, threads=params.trial.threads)


def tune_until_done(trainable: Any, searcher: Any, params: RayBackend, most: int, **asked: Any) -> None:
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


def _placed(params: RayBackend) -> dict[str, float]:
    """Return the resources of a trial by the names that Tune has for them."""
    return {name.lower(): amount for name, amount in params.trial.resources.items()}


class _Desk:
    """Where lanes fetch their batches: an actor that waits with those for whom there is none yet."""

    def __init__(self) -> None:
        self._batches: dict[str, Any] = {}

    async def put(self, lane: str, batch: str | None) -> None:
        """Leave a batch for a lane; None sends it home."""
        await self._of(lane).put(batch)

    async def take(self, lane: str) -> str | None:
        """Return a lane's next batch when there is one."""
        batch: str | None = await self._of(lane).get()
        return batch

    async def withdraw(self, lane: str) -> bool:
        """Take a lane's batch back, and return whether it was still there."""
        batches = self._of(lane)
        is_there = not batches.empty()
        if is_there:
            batches.get_nowait()
        return is_there

    def _of(self, lane: str) -> Any:
        import asyncio

        return self._batches.setdefault(lane, asyncio.Queue())


class _Lane:
    """What Ray Tune calls a trainable, but for its base class; a step reports about a second's work."""

    def setup(self, config: dict[str, Any], workload: Workload, desk: Any) -> None:
        """Take note of whom to ask for trials, and of what they have in common."""
        self._lane, self._workload, self._desk = config[LANE], workload, desk
        self._trials: deque[Trial] = deque()

    def step(self) -> dict[str, Any]:
        """Run trials of the batch, or of a new one once that is done."""
        began, outcomes = time.monotonic(), list[Outcome]()
        if not self._trials and not self._fetch():
            return {OUTCOMES: "[]", DONE: True}
        while self._trials and time.monotonic() - began < REPORTED_S:
            outcomes.append(remote_worker.run_there(self._trials.popleft(), self._workload, self._lane))
        return {OUTCOMES: msgspec.json.encode(outcomes).decode(), DONE: False}

    def cleanup(self) -> None:
        """End the worker process."""
        remote_worker.release()

    def _fetch(self) -> bool:
        import ray

        batch = ray.get(self._desk.take.remote(self._lane))
        self._trials = deque(msgspec.json.decode(batch, type=list[Trial])) if batch else deque()
        return batch is not None


def _lane_class() -> type:
    from ray import tune

    return type("Lane", (_Lane, tune.Trainable), {})


class _Lanes:
    """The lanes, and which trials each of them has: hands them batches, and the conductor their outcomes."""

    def __init__(self, conductor: Conductor, desk: Any, size: int, most: int) -> None:
        self._conductor, self._desk, self._size, self._most = conductor, desk, size, most
        self._running: dict[str, list[Trial]] = {}
        self._unbegun: deque[Trial] = deque()
        self._heard: set[str] = set()
        """The lanes that have reported something: others may be waiting for a node that is gone."""

    def opened(self, lane: str) -> bool:
        """Return whether there is anything to do for a new lane, which then has it."""
        self._running[lane] = []
        self._fill()
        if self._running[lane]:
            return True
        del self._running[lane]
        return False

    @property
    def are_all_closed(self) -> bool:
        """Whether no lane is left, and so no trial either."""
        return not self._running

    def reported(self, lane: str, outcomes: list[Outcome]) -> None:
        """Take note of outcomes; give the lanes that have nothing to do something, or send all of them home."""
        self._heard.add(lane)
        done = {outcome.number for outcome in outcomes}
        self._running[lane] = [trial for trial in self._running[lane] if trial.number not in done]
        for outcome in outcomes:
            self._conductor.tell(outcome)
        self._fill()
        if not any(self._running.values()):
            for idle in self._running:
                self._desk.put.remote(idle, None)

    def died(self, lane: str) -> None:
        """Take note of a lane that died: of its trials the first was being run, and the others go to other lanes."""
        trials = self._running.pop(lane, [])
        self._unbegun.extend(trials[1:])
        for trial in trials[:1]:
            self._conductor.tell(failed(trial, DIED))
        self._fill()

    def _fill(self) -> None:
        for lane in [lane for lane, trials in self._running.items() if not trials]:
            self._running[lane] = [*self._batch()] or self._withdrawn(lane)
            if self._running[lane]:
                self._desk.put.remote(lane, msgspec.json.encode(self._running[lane]).decode())

    def _withdrawn(self, lane: str) -> list[Trial]:
        """Return the trials of a lane that has not come to take them, for one that waits for some."""
        import ray

        for other in self._running.keys() - self._heard if lane in self._heard else ():
            if self._running[other] and ray.get(self._desk.withdraw.remote(other)):
                trials, self._running[other] = self._running[other], []
                return trials
        return []

    def _batch(self) -> Iterator[Trial]:
        """Yield up to as many trials as a batch has, fewer where a lane would have nothing to do otherwise."""
        left = self._conductor.left()
        for _ in range(self._size if left is None else max(1, min(self._size, left // (2 * self._most)))):
            trial = self._unbegun.popleft() if self._unbegun else self._conductor.next(complex_first=True)
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


def _searcher(lanes: _Lanes) -> Any:
    """Return what Ray Tune asks for lanes and tells of what they report."""
    unsaved = unsaved_searcher()

    class Strategy(unsaved):  # type: ignore[misc, valid-type]  # a class that is made when Ray is there
        def suggest(self, trial_id: str) -> Any:
            if lanes.opened(trial_id):
                return {LANE: trial_id}
            return unsaved.FINISHED if lanes.are_all_closed else None

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            lanes.reported(trial_id, msgspec.json.decode(result[OUTCOMES], type=list[Outcome]))

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's
            lanes.died(trial_id)

    return Strategy()
