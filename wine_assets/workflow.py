"""The reference workflow, and a search, as one plain call each, without Dagster."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_assets.errors import HyperparameterError

if TYPE_CHECKING:
    from wine_assets.models.base import Hyperparameters
    from wine_assets.search.params import SearchParams
    from wine_assets.search.result import SearchResult


def training_workflow(hyperparameters: "Mapping[str, Any] | Hyperparameters | None" = None) -> Any:
    """Get the bundled wine data, binarize it and return the estimator fitted on it, by default a LogisticRegression.

    `training_workflow({"C": 0.01})` is the reference workflow: its result is bit-equal to
    `LogisticRegression(max_iter=5000, C=0.01)` fitted on all 178 rows and 13 features. A field that isn't given has
    its default, but for the scaler: there is none unless it is asked for, and with one the result is a Pipeline.
    With a `family`, it is the estimator of that one.
    A typed object means what a mapping of the fields that were set in it would mean. Raise HyperparameterError
    for what the typed model refuses.
    """
    from wine_assets.data import dataset, sources
    from wine_assets.models import training
    from wine_assets.models.reference import DEFAULT_FAMILY, REFERENCE
    from wine_assets.models.registry import validate

    given = {"family": DEFAULT_FAMILY} | _given(hyperparameters)
    typed = validate({"scaler": REFERENCE.scaler} | given if given["family"] == DEFAULT_FAMILY else given)
    raw = sources.load(sources.BundledSource()).frame
    return training.train(dataset.binarize(raw, dataset.BinarizeParams()), typed).estimator


def _given(hyperparameters: Any) -> dict[str, Any]:
    from wine_assets.models.base import Hyperparameters

    if isinstance(hyperparameters, Hyperparameters):
        fields = hyperparameters.model_dump(exclude_unset=True, warnings=False)  # it is validated again
        return {"family": hyperparameters.family, **fields}
    if hyperparameters is None or isinstance(hyperparameters, Mapping):
        return {**hyperparameters} if hyperparameters else {}
    raise HyperparameterError(
        f"hyperparameters must be a mapping or a typed model of them, got {hyperparameters!r}. "
        'Write, for example, training_workflow({"C": 0.01}).'
    )


@dataclass(frozen=True)
class Tuned:
    """What a search came to, and the estimator with the best hyperparameters, fitted on all rows."""

    result: "SearchResult"
    estimator: Any


def search_workflow(search: "Mapping[str, Any] | SearchParams | None" = None, journal: Path | None = None) -> Tuned:
    """Get the bundled wine data, binarize it, search hyperparameters on every core and fit the best on all rows.

    With a folder for its journal, the same search goes on where it was stopped. Raise SearchError for what can't be
    searched, and FailedSearchError when too few trials came to a score.
    """
    from wine_assets.search.workers import fork_server_client

    fork_server_client.preload()
    try:
        return _searched(search, journal)
    finally:
        fork_server_client.discard()


def _searched(search: "Mapping[str, Any] | SearchParams | None", journal: Path | None) -> Tuned:
    from wine_assets.data import dataset, sources
    from wine_assets.models import training
    from wine_assets.search.backends.pool import PoolBackend
    from wine_assets.search.params import SearchParams
    from wine_assets.search.search import Search

    params = search if isinstance(search, SearchParams) else SearchParams.model_validate(search or {})
    frame = dataset.binarize(sources.load(sources.BundledSource()).frame, dataset.BinarizeParams())
    with tempfile.TemporaryDirectory(prefix="wine-search-") as folder:
        result = Search.open(params, frame, journal or Path(folder)).run(PoolBackend(), lambda *_: None)
    best = result.best.candidate.hyperparameters()
    return Tuned(result, training.train(frame, best).estimator)
