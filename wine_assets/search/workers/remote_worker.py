"""Trials on the worker of another scheduler: each thread of it has one worker process of ours."""

import threading

from wine_assets.errors import FailedSearchError
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers.processes import Workers

_mine = threading.local()
_all: list[Workers] = []


def run_trial(trial: Trial, context: TrialContext, search: str) -> TrialResult:
    """Run a trial in this thread's worker process, which is kept for the next trial of the same search."""
    try:
        return _result(trial, _workers(context, search))
    except FailedSearchError as error:
        _end_mine()
        return failed(trial, str(error))


def release() -> None:
    """End the worker processes of all threads."""
    while _all:
        _all.pop().close()


def _result(trial: Trial, workers: Workers) -> TrialResult:
    results: list[TrialResult] = []
    workers.begin(trial)
    while not results:
        results = workers.wait()
    return results[0]


def _end_mine() -> None:
    """End this thread's worker process."""
    known: tuple[str, Workers] | None = getattr(_mine, "workers", None)
    _mine.workers = None
    if known is not None and known[1] in _all:
        _all.remove(known[1])
        known[1].close()


def _workers(context: TrialContext, search: str) -> Workers:
    known: tuple[str, Workers] | None = getattr(_mine, "workers", None)
    if known is not None and known[0] == search and known[1] in _all:
        return known[1]
    _end_mine()
    workers = Workers(context, 1)
    _all.append(workers)
    _mine.workers = (search, workers)
    workers.ready(None)
    return workers
