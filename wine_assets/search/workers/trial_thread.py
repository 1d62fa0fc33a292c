"""A thread that runs trials, while the one that started it waits and can be interrupted.

Python handles a signal once its main thread is back from native code, which a fit may not leave for hours.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from wine_assets.compute import threads
from wine_assets.search.objective import Objective
from wine_assets.search.trial_context import run
from wine_assets.search.trials import Trial, TrialResult

Job = tuple[Trial, "Future[TrialResult]"]


@contextlib.contextmanager
def trial_thread(objective: Objective) -> Iterator[Callable[[Trial], TrialResult]]:
    """Yield what runs a trial in a thread of its own, on one core, and returns the result.

    A trial that is under way when the block is left by an exception is left to itself: it ends with the process.
    """
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_work, args=(jobs, objective), name="trials", daemon=True)
    thread.start()

    def run_trial(trial: Trial) -> TrialResult:
        future: Future[TrialResult] = Future()
        jobs.put((trial, future))
        return future.result()

    try:
        yield run_trial
    finally:
        jobs.put(None)
    thread.join()


def _work(jobs: "queue.SimpleQueue[Job | None]", objective: Objective) -> None:
    with threads.limit_threads(1):
        while (job := jobs.get()) is not None:
            trial, future = job
            try:
                future.set_result(run(trial, objective, None))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                future.set_exception(error)
