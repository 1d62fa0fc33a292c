"""The typed run config of a hyperparameter search; the launchpad makes its form from it."""

from typing import Any

import dagster as dg
from pydantic import Field

from wine_assets.orchestration.configs import NEGATIVE_CLASSES, SOURCE, SourceConfig
from wine_assets.search.backends.ray.params import Asha, Node, TrialRequest, WorkerNodes
from wine_assets.search.backends.registry import DaskBackend, PoolBackend, RayBackend, StepsBackend
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.params import SearchParams
from wine_assets.search.space import Distribution, FamilySpace
from wine_assets.search.strategies import BayesianStrategy, GridStrategy, RandomStrategy
from wine_assets.search.study import Budget, Failures


class GridStrategyConfig(dg.Config, GridStrategy):
    """Every combination of explicit lists of values."""


class RandomStrategyConfig(dg.Config, RandomStrategy):
    """Draws that know nothing of each other."""


class BayesianStrategyConfig(dg.Config, BayesianStrategy):
    """Draws that follow what came of the trials before."""


class DistributionConfig(dg.Config, Distribution):
    """What one hyperparameter is drawn from."""


class FamilySpaceConfig(dg.Config, FamilySpace):
    """What is searched over within one family."""

    parameters: dict[str, DistributionConfig] = Field(  # type: ignore[assignment]  # a form of its own
        default={}, description="what each searched hyperparameter is drawn from"
    )
    over: dict[str, DistributionConfig] = Field(  # type: ignore[assignment]  # a form of its own
        default={}, exclude=True, description="the deprecated name of `parameters`"
    )


class ObjectiveConfig(dg.Config, ObjectiveParams):
    """What candidates are compared by."""


class BudgetConfig(dg.Config, Budget):
    """When a search ends."""


class FailuresConfig(dg.Config, Failures):
    """What happens to trials that fail."""


class PoolBackendConfig(dg.Config, PoolBackend):
    """Worker processes on this machine."""


class StepsBackendConfig(dg.Config, StepsBackend):
    """A step of Dagster for each chunk of trials."""


class DaskBackendConfig(dg.Config, DaskBackend):
    """Workers of a Dask cluster."""


class TrialRequestConfig(dg.Config, TrialRequest):
    """What Ray sets aside for each trial."""


class AshaConfig(dg.Config, Asha):
    """When trials are stopped between their iterations."""


class NodeConfig(dg.Config, Node):
    """What the head of a Ray cluster offers."""


class WorkerNodesConfig(dg.Config, WorkerNodes):
    """The worker nodes of a Ray cluster."""


class RayBackendConfig(dg.Config, RayBackend):
    """Ray Tune on a Ray cluster."""

    asha: AshaConfig | None = Field(
        default=None,
        description="when hopeless trials are stopped, of families that report progress (gradient_boosting); "
        "empty for never",
    )
    trial: TrialRequestConfig = Field(default=TrialRequestConfig(), description="what Ray sets aside for a trial")
    head: NodeConfig = Field(default=NodeConfig(), description="what the head of a cluster of its own offers")
    worker_nodes: WorkerNodesConfig = Field(
        default=WorkerNodesConfig(), description="the worker nodes of a cluster of its own, beside the head"
    )


class SearchConfig(dg.Config, SearchParams):
    """The config of hyperparameter_search: a strategy, a backend and a budget."""

    strategy: GridStrategyConfig | RandomStrategyConfig | BayesianStrategyConfig = Field(
        default=RandomStrategyConfig(),
        discriminator="kind",
        description="how candidates are chosen; the default is random",
    )
    space: dict[str, FamilySpaceConfig] = Field(  # type: ignore[assignment]  # a form of its own
        default={}, description="the fields that are searched, by family; the default is C from 1e-4 to 1e2"
    )
    objective: ObjectiveConfig = Field(default=ObjectiveConfig(), description="what candidates are compared by")
    budget: BudgetConfig = Field(default=BudgetConfig(), description="when the search ends")
    failures: FailuresConfig = Field(default=FailuresConfig(), description="what happens to trials that fail")
    backend: PoolBackendConfig | StepsBackendConfig | DaskBackendConfig | RayBackendConfig = Field(
        default=PoolBackendConfig(), discriminator="kind", description="where trials run; the default is the pool"
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
