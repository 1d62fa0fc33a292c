"""The typed run config of a hyperparameter search; the launchpad makes its form from it."""

import functools
import operator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from wine_assets.orchestration.config_class import config_class
from wine_assets.orchestration.configs import NEGATIVE_CLASSES, SOURCE, SourceConfig
from wine_assets.search.backends.base import TrialBackend
from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.backends.registry import BACKENDS
from wine_assets.search.params import SearchParams

if TYPE_CHECKING:
    BackendConfig = TrialBackend

    class SearchParamsConfig(dg.Config, SearchParams):
        """The config of a search as type checkers see it."""
else:
    BackendConfig = functools.reduce(operator.or_, map(config_class, BACKENDS.values()))
    SearchParamsConfig = config_class(SearchParams)


class SearchConfig(SearchParamsConfig):
    """The config of hyperparameter_search: a strategy, a backend and a budget."""

    backend: BackendConfig = Field(
        default=config_class(PoolBackend)(),
        discriminator="kind",
        description="where trials run; the default is the pool",
    )
    study: bool = Field(
        default=False, description="whether the trials are written as an Optuna study, too, for optuna-dashboard"
    )

    def params(self) -> SearchParams:
        """Return the search without where it runs and what else is written of it."""
        return SearchParams.model_validate(self.model_dump(include=set(SearchParams.model_fields)))


class SearchJobConfig(SearchConfig):
    """The config of search_job: from rows to the best hyperparameters."""

    source: SourceConfig = SOURCE
    negative_classes: list[Any] = NEGATIVE_CLASSES
