"""What the steps of a search share: its journal, what they hand each other, and what they tell."""

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import dagster as dg
import pydantic

from wine_assets import settings
from wine_assets.errors import ArtifactError
from wine_assets.files import atomic_write
from wine_assets.orchestration import io_managers, progress
from wine_assets.orchestration.progress import Progress
from wine_assets.orchestration.search_configs import SearchConfig, SearchJobConfig
from wine_assets.search.backends.registry import BackendParams
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets.search.study import Study
from wine_assets.search.trials import TrialResult

CHUNKS = "io_manager"
"""The key of the IO manager by which steps of a search hand each other what to do: Dagster's own default."""
_backends: pydantic.TypeAdapter[BackendParams] = pydantic.TypeAdapter(
    Annotated[BackendParams, pydantic.Field(discriminator="kind")]
)
Listener = Callable[[Study, TrialResult | None], None]
_listeners: list[Listener] = []


def open_search(params: SearchParams, stored: io_managers.Stored) -> Search:
    """Return the search of a stored frame; its journal lies in the project's home."""
    return Search.open(params, stored.read(), settings.home().searches)


def backend(fields: dict[str, Any]) -> BackendParams:
    """Return the backend that its fields describe."""
    return _backends.validate_python(fields)


def fields(config: SearchConfig) -> dict[str, Any]:
    """Return a config as Dagster wants to be told: a union is an object with the name of its kind."""
    told = config.model_dump(mode="json", include=set(SearchConfig.model_fields))
    for name in ("strategy", "backend"):
        if isinstance(told[name], dict) and "kind" in told[name]:
            kind = told[name].pop("kind")
            told[name] = {kind: told[name]}
    return told


def launch_config(config: SearchJobConfig) -> dict[str, Any]:
    """Return the typed config of search_job in the form that the job is launched with, as the launchpad shows it."""
    told = fields(config)
    source = config.source.model_dump(mode="json")
    return told | {"source": {source.pop("kind"): source}, "negative_classes": [*config.negative_classes]}


class Told:
    """Tells of a search as it goes: its asset's page and the run's log every few seconds, at once who listens here.

    Each observation is an event that stays on record, so that the pauses grow with the time that the search takes.
    """

    def __init__(self, context: dg.OpExecutionContext, asset: str, metric: str, numbers: range | None) -> None:
        self._context, self._asset, self._metric, self._numbers = context, asset, metric, numbers

    def began(self, study: Study) -> None:
        """Tell what there is to do."""
        self._progress = Progress(study, self._numbers)
        self._began = self._told = time.monotonic()
        if self._progress.recalled:
            self._context.log.info("%d trials were run before, and are not run again.", self._progress.recalled)
        for listener in _listeners:
            listener(study, None)

    def __call__(self, study: Study, result: TrialResult) -> None:
        """Tell of a result."""
        for listener in _listeners:
            listener(study, result)
        now = time.monotonic()
        if now - self._told >= progress.pause(now - self._began):
            self._told = now
            self._observe(now - self._began)

    def _observe(self, seconds: float) -> None:
        self._context.log.info(self._progress.sentence(self._metric))
        metadata = self._progress.metadata(seconds) | {"step": self._context.get_step_execution_context().step.key}
        self._context.log_event(dg.AssetObservation(self._asset, metadata=metadata))


class listening:  # noqa: N801 - a context manager is called like a function
    """Have a function of this process told of every result in the block."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __enter__(self) -> None:
        _listeners.append(self._listener)

    def __exit__(self, *_: object) -> None:
        _listeners.remove(self._listener)


class ChunkIOManager(dg.IOManager):
    """Keeps what the steps of a run hand each other as JSON, a file each, in the home."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write it."""
        atomic_write(self._path(context), json.dumps(obj).encode())

    def load_input(self, context: dg.InputContext) -> Any:
        """Read it; raise ArtifactError when it is gone."""
        output = context.upstream_output
        assert output is not None  # noqa: S101 - an input of this manager comes from another step
        path = self._path(output)
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} can't be read: {error}. Start the search again.") from error

    def _path(self, context: dg.OutputContext) -> Any:
        return settings.home().searches / "runs" / "-".join(context.get_identifier())
