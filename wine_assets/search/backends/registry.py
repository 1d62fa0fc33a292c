"""Where trials run: what is asked for, typed, and what runs them."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from wine_assets.config import StrictModel
from wine_assets.errors import SearchError
from wine_assets.search.backends.ray.params import Asha, Node, TrialRequest, WorkerNodes
from wine_assets.search.study import Study
from wine_assets.search.trial_context import TrialContext

_WORKERS: Any = Field(
    default=None, ge=1, le=4096, description="trials that run at the same time; empty for as many as there are cores"
)


class PoolBackend(StrictModel):
    """Worker processes on this machine; a search that is done sooner without them has none."""

    config_path: ClassVar[str] = "backend"
    kind: Literal["pool"] = "pool"

    workers: int | None = _WORKERS


class StepsBackend(StrictModel):
    """A step of Dagster for each chunk of trials, with its own logs, retries and tags."""

    config_path: ClassVar[str] = "backend"
    kind: Literal["steps"] = "steps"

    chunk_trials: int = Field(default=10, ge=1, le=100_000, description="trials of a step; 1 shows every trial")
    workers: int | None = Field(
        default=1,
        ge=1,
        le=4096,
        description="trials of one step that run at the same time; steps run beside each other",
    )


class DaskBackend(StrictModel):
    """Workers of a Dask cluster: one that is started for the run, or one by its address."""

    config_path: ClassVar[str] = "backend"
    kind: Literal["dask"] = "dask"

    address: str = Field(
        default="", description="address of the scheduler, as in tcp://10.0.0.1:8786; empty for a cluster of its own"
    )
    workers: int | None = _WORKERS


class RayBackend(StrictModel):
    """Ray Tune on a Ray cluster: one that is started for the run, or one by its address."""

    config_path: ClassVar[str] = "backend"
    kind: Literal["ray"] = "ray"

    address: str = Field(
        default="", description="address of the cluster, as in 10.0.0.1:6379 or ray://10.0.0.1:10001; empty for its own"
    )
    workers: int | None = _WORKERS
    batch_trials: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="trials that a Ray task runs, one after another, so that starting it pays",
    )
    asha: Asha | None = Field(
        default=None,
        description="when hopeless trials are stopped, of families that report progress (gradient_boosting); "
        "empty for never",
    )
    trial: TrialRequest = Field(default=TrialRequest(), description="what Ray sets aside for a trial")
    head: Node = Field(default=Node(), description="what the head of a cluster of its own offers")
    worker_nodes: WorkerNodes = Field(
        default=WorkerNodes(), description="the worker nodes of a cluster of its own, beside the head"
    )

    @model_validator(mode="after")
    def _is_one_cluster(self) -> Self:
        """Refuse settings of a cluster to be started beside the address of one that runs."""
        for name, given, default in (("head", self.head, Node()), ("worker_nodes", self.worker_nodes, WorkerNodes())):
            if self.address and given.model_dump() != default.model_dump():
                raise SearchError(
                    f"`backend.{name}` is of a cluster that is started for the search, and `backend.address` "
                    f"({self.address!r}) names one that runs. Leave one of them out."
                )
        return self


BackendParams = PoolBackend | StepsBackend | DaskBackend | RayBackend


def run_trials(params: BackendParams, study: Study, context: TrialContext) -> None:
    """Run trials until there are none; raise MissingExtraError for a backend that isn't installed."""
    from wine_assets.search.backends import pool

    if isinstance(params, DaskBackend):
        from wine_assets.search.backends import dask

        dask.run_on_dask(study, context, params.address, params.workers or pool.usable_cores())
    elif isinstance(params, RayBackend):
        _run_on_ray(study, context, params)
    else:
        pool.run_in_pool(study, context, params.workers or pool.usable_cores())


def _run_on_ray(study: Study, context: TrialContext, params: RayBackend) -> None:
    from wine_assets.search.backends.ray import asha as ray_asha
    from wine_assets.search.backends.ray import tune

    if params.asha is None:
        tune.run_on_ray(study, context, params)
    else:
        ray_asha.run_with_asha(study, context, params, params.asha)
