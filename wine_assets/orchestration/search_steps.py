"""What the steps of a search share: its journal, its backend, and reports of its progress."""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.orchestration import progress
from wine_assets.orchestration.progress import Progress
from wine_assets.orchestration.search_configs import SearchConfig, SearchJobConfig
from wine_assets.search.backends import registry
from wine_assets.search.backends.base import TrialBackend
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets.search.study import Study
from wine_assets.search.trials import TrialResult

SEARCH = "hyperparameter_search"
"""The name of the asset."""
Listener = Callable[[Study, TrialResult | None], None]
_listeners: list[Listener] = []


def open_search(params: SearchParams, frame: Any) -> Search:
    """Return the search of a frame; its journal lies in the project's home."""
    return Search.open(params, frame, settings.home().searches)


def backend(fields: dict[str, Any]) -> TrialBackend:
    """Return the backend that its fields describe."""
    return registry.parse(fields)


def fields(config: SearchConfig) -> dict[str, Any]:
    """Return a config as Dagster takes it: a union is an object with the name of its kind."""
    values = config.model_dump(mode="json", include=set(SearchConfig.model_fields))
    for name in ("strategy", "backend"):
        if isinstance(values[name], dict) and "kind" in values[name]:
            kind = values[name].pop("kind")
            values[name] = {kind: values[name]}
    return values


def launch_config(config: SearchJobConfig) -> dict[str, Any]:
    """Return the typed config of search_job in the form that the job is launched with, as the launchpad shows it."""
    values = fields(config)
    source = config.source.model_dump(mode="json")
    return values | {"source": {source.pop("kind"): source}, "negative_classes": [*config.negative_classes]}


class ProgressReporter:
    """Reports the progress of a search: to listeners at once, to the asset's page and the run's log now and then.

    Each observation is an event that stays on record, so that the pauses grow with the time that the search takes.
    """

    def __init__(self, context: dg.OpExecutionContext, metric: str, numbers: range | None) -> None:
        self._context, self._metric, self._numbers = context, metric, numbers

    def begin(self, study: Study) -> None:
        """Report the trials that earlier runs left."""
        self._progress = Progress(study, self._numbers)
        self._began = self._reported = time.monotonic()
        if self._progress.recalled:
            self._context.log.info("%d trials were run before, and are not run again.", self._progress.recalled)
        for listener in _listeners:
            listener(study, None)

    def __call__(self, study: Study, result: TrialResult) -> None:
        """Report a result."""
        for listener in _listeners:
            listener(study, result)
        now = time.monotonic()
        if now - self._reported < progress.pause(now - self._began):
            return
        self._reported = now
        self._context.log.info(self._progress.sentence(self._metric))
        metadata = self._progress.metadata(now - self._began)
        step = self._context.get_step_execution_context().step.key
        self._context.log_event(dg.AssetObservation(SEARCH, metadata={**metadata, "step": step}))


class listening:  # noqa: N801 - a context manager is called like a function
    """Call a function of this process with every result in the block."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __enter__(self) -> None:
        _listeners.append(self._listener)

    def __exit__(self, *_: object) -> None:
        _listeners.remove(self._listener)
