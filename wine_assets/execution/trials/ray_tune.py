"""The backend `ray`: Ray Tune, to which our strategy is a searcher, on its own cluster or one by its address."""

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from wine_assets.errors import FailedSearchError, MissingExtraError
from wine_assets.execution.trials import there
from wine_assets.execution.trials.backends import RayBackend
from wine_assets.execution.trials.pool import usable_cores
from wine_assets.execution.trials.workload import Workload
from wine_assets.ml.search.conductor import Conductor
from wine_assets.ml.search.trials import Outcome, Trial, failed

TRIALS, OUTCOME, NUMBER = "trials", "outcome", "number"
"""What a batch's config holds, and its results: Tune flattens what isn't text, and asks for a number to compare."""


def run_on_ray(conductor: Conductor, workload: Workload, params: RayBackend) -> None:
    """Run trials until there are none, in batches, each batch being what Ray Tune calls a trial.

    Raise MissingExtraError without Ray, and FailedSearchError for a cluster that isn't there.
    """
    with _ray(params) as ray, tempfile.TemporaryDirectory(prefix="wine-search-") as folder:
        from ray import tune

        cores = int(ray.cluster_resources().get("CPU", 1))
        most = min(params.workers or cores, cores)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_trainable(), workload=workload), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=_searcher(conductor, params.batch_trials, most),
                num_samples=-1,
                max_concurrent_trials=most,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder, verbose=0, failure_config=tune.FailureConfig(max_failures=0)
            ),
        )
        tuner.fit()


def _trainable() -> type:
    """Return the class whose objects run a batch on a worker of Ray, one trial a step."""
    from ray import tune

    class Batch(tune.Trainable):
        """Runs the trials of a batch in a worker process, which the next batch on the same actor goes on with."""

        def setup(self, config: dict[str, Any], workload: Workload) -> None:  # type: ignore[override]
            self._workload = workload
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._trials = deque(msgspec.convert(new_config[TRIALS], list[Trial]))
            return True

        def step(self) -> dict[str, Any]:
            outcome = there.run_there(self._trials.popleft(), self._workload, "ray")
            return {OUTCOME: msgspec.json.encode(outcome).decode(), NUMBER: outcome.number, "done": not self._trials}

        def cleanup(self) -> None:
            there.release()

    return Batch


class _Batches:
    """What Ray Tune calls a searcher, but for its base class: hands it our trials in batches, and us its outcomes."""

    def __init__(self, conductor: Conductor, size: int, most: int, **given: Any) -> None:
        super().__init__(**given)
        self._conductor, self._size, self._most = conductor, size, most
        self._running: dict[str, dict[int, Trial]] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next batch, None while there is nothing to begin, and FINISHED when there will be no more."""
        batch = list(_batch(self._conductor, self._size, self._most))
        if not batch:
            return None if self._running else "FINISHED"
        self._running[trial_id] = {trial.number: trial for trial in batch}
        return {TRIALS: msgspec.to_builtins(batch)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take note of one outcome of a batch."""
        outcome = msgspec.json.decode(result[OUTCOME], type=Outcome)
        if self._running.get(trial_id, {}).pop(outcome.number, None) is not None:
            self._conductor.tell(outcome)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's
        """Take note of the last outcome of a batch, and of the trials of it that have none."""
        if result:
            self.on_trial_result(trial_id, result)
        for trial in self._running.pop(trial_id, {}).values():
            self._conductor.tell(failed(trial, "The worker of Ray that it ran on ended before it did."))

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the journal is what a search goes on from."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""


def _searcher(conductor: Conductor, size: int, most: int) -> Any:
    from ray.tune.search import Searcher

    return type("Strategy", (_Batches, Searcher), {})(conductor, size, most, metric=NUMBER, mode="min")


def _batch(conductor: Conductor, size: int, most: int) -> Iterator[Trial]:
    """Yield up to `size` trials, and fewer where all workers would not have something to do otherwise."""
    left = conductor.left()
    fair = size if left is None else max(1, min(size, left // (2 * most)))
    for _ in range(fair):
        trial = conductor.next()
        if trial is None:
            return
        yield trial


@contextlib.contextmanager
def _ray(params: RayBackend) -> Iterator[Any]:
    try:
        import ray
        import ray.tune
    except ImportError as error:
        raise MissingExtraError("ray", "The backend `ray`") from error
    try:
        if params.address:
            ray.init(address=params.address, log_to_driver=False, configure_logging=False)
        else:
            ray.init(
                address="local",
                num_cpus=params.workers or usable_cores(),
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
    except ConnectionError as error:
        raise FailedSearchError(
            f"There is no Ray cluster at {params.address!r} ({error}). Start one, or change `backend.address`."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
