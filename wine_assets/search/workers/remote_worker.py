"""Trials on the worker of another scheduler: each thread of it has one worker process of ours."""

import threading

from wine_assets.errors import FailedSearchError
from wine_assets.search.trial_context import Workload
from wine_assets.search.trials import Outcome, Trial, failed
from wine_assets.search.workers.processes import Workers

_mine = threading.local()
_all: list[Workers] = []


def run_there(trial: Trial, workload: Workload, search: str) -> Outcome:
    """Run a trial in this thread's worker process, which is kept for the next trial of the same search."""
    try:
        return _outcome(trial, _workers(workload, search))
    except FailedSearchError as error:
        _end_mine()
        return failed(trial, str(error))


def release() -> None:
    """End the worker processes of all threads."""
    while _all:
        _all.pop().close()


def _outcome(trial: Trial, workers: Workers) -> Outcome:
    outcomes: list[Outcome] = []
    workers.begin(trial)
    while not outcomes:
        outcomes = workers.wait()
    return outcomes[0]


def _end_mine() -> None:
    """End this thread's worker process."""
    known: tuple[str, Workers] | None = getattr(_mine, "workers", None)
    _mine.workers = None
    if known is not None and known[1] in _all:
        _all.remove(known[1])
        known[1].close()


def _workers(workload: Workload, search: str) -> Workers:
    known: tuple[str, Workers] | None = getattr(_mine, "workers", None)
    if known is not None and known[0] == search and known[1] in _all:
        return known[1]
    _end_mine()
    workers = Workers(workload, 1)
    _all.append(workers)
    _mine.workers = (search, workers)
    workers.ready(None)
    return workers
