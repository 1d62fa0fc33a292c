"""The backend `pool`: worker processes on this machine, once the first trials show that they pay."""

import time
from typing import Literal

from wine_assets.compute.threads import granted_cores
from wine_assets.search.backends.base import WORKERS, TrialBackend
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.workers import fork_server_client
from wine_assets.search.workers.processes import Workers
from wine_assets.search.workers.trial_thread import trial_thread

STARTUP_S = 2.5
"""About how long workers take to load what they need, in seconds, beside a process that computes."""
WAITED = 0.4
"""The share of that after which workers are started however short the last trial was: the next ones may be longer."""
_SOON_S = 0.5
"""How long to wait, in seconds, for workers that began to load when this process did: a trial may take longer."""


class PoolBackend(TrialBackend):
    """Worker processes on this machine, as soon as the first trials show that they pay."""

    kind: Literal["pool"] = "pool"
    workers: int | None = WORKERS

    def run(self, study: Study, context: TrialContext) -> None:
        """Run trials in this process at first, and in workers when that will be sooner done.

        With limits on a trial's time or memory, workers run all of them.
        """
        if context.timeout_s is None and context.memory_mib is None:
            _run_here_first(study, context, self.workers or granted_cores())
        else:
            self.run_isolated(study, context)

    def run_isolated(self, study: Study, context: TrialContext) -> None:
        """Run all trials in workers: one that ends its process is a failed trial."""
        with Workers(context, self.workers or granted_cores()) as pool:
            pool.ready(None)
            run_in_workers(study, pool)


def run_in_workers(study: Study, workers: Workers) -> None:
    """Run trials in workers that are ready, until there are none."""
    while True:
        while workers.free and (trial := study.ask(complex_first=True)) is not None:
            workers.begin(trial)
        if not workers.running:
            return
        for result in workers.wait():
            study.tell(result)


def _run_here_first(study: Study, context: TrialContext, workers: int) -> None:
    began, done = time.monotonic(), 0
    pool = (
        Workers(context, workers) if fork_server_client.is_preloaded() and workers > 1 and study.left() != 0 else None
    )
    try:
        if pool is not None:
            pool.ready(_SOON_S)
        with trial_thread(context.objective()) as run:
            while pool is None or not pool.ready():
                trial = study.ask()
                if trial is None:
                    return
                started = time.perf_counter()
                study.tell(run(trial))
                seconds, done = time.perf_counter() - started, done + 1
                if pool is None and done > 1 and _pays(seconds, time.monotonic() - began, study.left(), workers):
                    pool = Workers(context, workers)
        run_in_workers(study, pool)
    finally:
        if pool is not None:
            pool.close()


def _pays(seconds: float, waited: float, left: int | None, workers: int) -> bool:
    """Tell whether workers may save time; the first trial, which imports, says nothing."""
    if workers == 1 or left == 0:
        return False
    return left is None or waited > WAITED * STARTUP_S or left * seconds * (1 - 1 / workers) > STARTUP_S
