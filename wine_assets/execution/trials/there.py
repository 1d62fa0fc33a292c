"""Trials on the worker of another scheduler: each thread of it has one worker process of ours."""

import threading

from wine_assets.execution.trials.workers import Workers
from wine_assets.execution.trials.workload import Workload
from wine_assets.ml.search.trials import Outcome, Trial

_mine = threading.local()
_all: list[Workers] = []


def run_there(trial: Trial, workload: Workload, search: str) -> Outcome:
    """Run a trial in this thread's worker process, which is kept for the next trial of the same search."""
    outcomes: list[Outcome] = []
    workers = _workers(workload, search)
    workers.begin(trial)
    while not outcomes:
        outcomes = workers.wait()
    return outcomes[0]


def release() -> None:
    """End the worker processes of all threads."""
    while _all:
        _all.pop().close()


def _workers(workload: Workload, search: str) -> Workers:
    known: tuple[str, Workers] | None = getattr(_mine, "workers", None)
    if known is not None and known[0] == search and known[1] in _all:
        return known[1]
    workers = Workers(workload, 1)
    _all.append(workers)
    _mine.workers = (search, workers)
    workers.ready(None)
    return workers
