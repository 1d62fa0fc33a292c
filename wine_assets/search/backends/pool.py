"""The backend `pool`: worker processes on this machine, once the first trials show that they pay."""

import time

from wine_assets.compute import threads
from wine_assets.search.study import Conductor
from wine_assets.search.trial_context import Workload
from wine_assets.search.workers import preloading
from wine_assets.search.workers.processes import Workers
from wine_assets.search.workers.trial_thread import aside

STARTUP_S = 2.5
"""About how long workers take to load what they need, in seconds, beside a process that computes."""
WAITED = 0.4
"""The share of that after which workers are started however short the last trial was: the next ones may be longer."""
_SOON_S = 0.5
"""How long to wait, in seconds, for workers that began to load when this process did: a trial may take longer."""


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
        run_apart(conductor, workload, workers)


def run_apart(conductor: Conductor, workload: Workload, workers: int) -> None:
    """Run trials until there are none, all of them in workers: one that ends its process is a failed trial."""
    with Workers(workload, workers) as pool:
        pool.ready(None)
        run_in_workers(conductor, pool)


def run_in_workers(conductor: Conductor, workers: Workers) -> None:
    """Run trials in workers that are ready, until there are none."""
    while True:
        while workers.free and (trial := conductor.next(complex_first=True)) is not None:
            workers.begin(trial)
        if not workers.running:
            return
        for outcome in workers.wait():
            conductor.tell(outcome)


def _run_here_first(conductor: Conductor, workload: Workload, workers: int) -> None:
    began, done = time.monotonic(), 0
    pool = Workers(workload, workers) if preloading.is_preloaded() and workers > 1 and conductor.left() != 0 else None
    try:
        if pool is not None:
            pool.ready(_SOON_S)
        with aside(workload.objective()) as run:
            while pool is None or not pool.ready():
                trial = conductor.next()
                if trial is None:
                    return
                started = time.perf_counter()
                conductor.tell(run(trial))
                seconds, done = time.perf_counter() - started, done + 1
                if pool is None and done > 1 and _pays(seconds, time.monotonic() - began, conductor.left(), workers):
                    pool = Workers(workload, workers)
        run_in_workers(conductor, pool)
    finally:
        if pool is not None:
            pool.close()


def _pays(seconds: float, waited: float, left: int | None, workers: int) -> bool:
    """Tell whether workers may save time; the first trial, which imports, says nothing."""
    if workers == 1 or left == 0:
        return False
    return left is None or waited > WAITED * STARTUP_S or left * seconds * (1 - 1 / workers) > STARTUP_S
