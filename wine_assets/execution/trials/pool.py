"""The backend `pool`: worker processes on this machine, once the first trials show that they pay."""

import time
from collections.abc import Callable

from wine_assets.execution import threads
from wine_assets.execution.trials import preloading
from wine_assets.execution.trials.workers import Workers
from wine_assets.execution.trials.workload import Workload, run
from wine_assets.ml.search.conductor import Conductor

STARTUP_S = 2.5
"""About how long workers take to load what they need, in seconds, beside a process that computes."""
PRELOADED_S = 0.25
"""How long they take whose template has loaded already, or is about to."""
WAITED = 0.4
"""The share of that after which workers are started however short the last trial was: the next ones may be longer."""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return threads.granted_cores()


def run_in_pool(conductor: Conductor, workload: Workload, workers: int) -> None:
    """Run trials until there are none: in this process at first, and in workers when that will be sooner done.

    With limits on a trial's time or memory, or with one trial after another wanted in a process of its own, workers
    run all of them.
    """
    if workload.timeout_s is None and workload.memory_mib is None:
        _run_here_first(conductor, workload, workers)
    else:
        with Workers(workload, workers) as pool:
            pool.ready(None)
            run_in_workers(conductor, pool)


def run_here(conductor: Conductor, workload: Workload, enough: Callable[[float, int], bool]) -> bool:
    """Run trials in this process, until `enough` says so of the last one's seconds and how many were run.

    Return whether there may be more.
    """
    objective, done = workload.objective(), 0
    with threads.capped(1):
        while (trial := conductor.next()) is not None:
            began = time.perf_counter()
            conductor.tell(run(trial, objective, None))
            done += 1
            if enough(time.perf_counter() - began, done):
                return True
    return False


def run_in_workers(conductor: Conductor, workers: Workers) -> None:
    """Run trials in workers that are ready, until there are none."""
    while True:
        while workers.free and (trial := conductor.next()) is not None:
            workers.begin(trial)
        if not workers.running:
            return
        for outcome in workers.wait():
            conductor.tell(outcome)


def _run_here_first(conductor: Conductor, workload: Workload, workers: int) -> None:
    pool: Workers | None = None
    began = time.monotonic()

    def enough(seconds: float, done: int) -> bool:
        nonlocal pool
        if pool is None and done > 1 and _pays(seconds, time.monotonic() - began, conductor.left(), workers):
            pool = Workers(workload, workers)
        return pool is not None and pool.ready()

    try:
        if run_here(conductor, workload, enough) and pool is not None:
            run_in_workers(conductor, pool)
    finally:
        if pool is not None:
            pool.close()


def _pays(seconds: float, waited: float, left: int | None, workers: int) -> bool:
    """Tell whether workers may save time; the first trial, which imports, says nothing."""
    if workers == 1 or left == 0:
        return False
    startup = PRELOADED_S if preloading.is_preloaded() else STARTUP_S
    return left is None or waited > WAITED * startup or left * seconds * (1 - 1 / workers) > startup
