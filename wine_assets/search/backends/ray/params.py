"""What is asked of Ray: the resources of a trial, and the nodes of a cluster that is started for a search."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from wine_assets.compute.quantities import parse_cpu, parse_memory
from wine_assets.compute.request import ComputeRequest
from wine_assets.config import StrictModel
from wine_assets.errors import ConfigurationError, SearchError
from wine_assets.models.registry import iterative_families
from wine_assets.search.backends.base import WORKERS, TrialBackend

T = TypeVar("T")


def _read(parse: Callable[[str], T], field: str, text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise SearchError(f"`{field}` must be {error}, got {text!r}. Change `{field}`.") from error


class TrialRequest(StrictModel):
    """What Ray sets aside for each trial that runs."""

    config_path: ClassVar[str] = "backend.trial"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    cpu: str = Field(default="1", description='cores of a trial, as in "2" or "500m" (a half)')
    memory: str = Field(default="", description='memory of a trial, as in "500Mi" or "2Gi"; empty sets none aside')
    gpu: int = Field(default=0, ge=0, le=1024, description="NVIDIA GPUs of a trial")

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        _read(parse_cpu, f"{self.config_path}.cpu", self.cpu)
        if self.memory:
            _read(parse_memory, f"{self.config_path}.memory", self.memory)
        return self

    @property
    def resources(self) -> dict[str, float]:
        """The resources by the names that Ray's nodes have for them: cores, GPUs, and bytes of memory."""
        request = self._request()
        memory = {"memory": float(request.memory_bytes)} if self.memory else {}
        return {"CPU": request.cpus, **({"GPU": float(self.gpu)} if self.gpu else {}), **memory}

    @property
    def threads(self) -> int:
        """The threads that a trial may compute with."""
        return self._request().threads

    def _request(self) -> ComputeRequest:
        memory: dict[str, Any] = {"memory": self.memory} if self.memory else {}
        return ComputeRequest(cpu=self.cpu, gpu=self.gpu, **memory)


class Asha(StrictModel):
    """When trials are stopped between their iterations (ASHA: Li et al., 2020)."""

    config_path: ClassVar[str] = "backend.asha"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    grace_period: int = Field(
        default=10, ge=1, le=1_000_000, description="iterations, such as trees, before a trial may be stopped"
    )
    reduction_factor: int = Field(
        default=3,
        ge=2,
        le=100,
        description="one in so many trials goes on from a rung; each rung has so many times the iterations of the last",
    )

    def rungs(self, iterations: int) -> list[int]:
        """Return after how many iterations a trial of so many is looked at, its end the last."""
        rungs, rung = [], self.grace_period
        while rung < iterations:
            rungs.append(rung)
            rung *= self.reduction_factor
        return [*rungs, iterations]


class Node(StrictModel):
    """What a node of a cluster offers, of this machine's."""

    config_path: ClassVar[str] = "backend.head"
    error_class: ClassVar[type[ConfigurationError]] = SearchError

    cpu: int | None = Field(
        default=None,
        ge=0,
        le=4096,
        description="cores of the head that trials may use; empty for as many as trials at the same time need, "
        "and for none where there are worker nodes",
    )
    gpu: int | None = Field(default=None, ge=0, le=1024, description="GPUs of the head; empty for those that there are")
    memory: str = Field(default="", description='memory that trials may set aside, as in "4Gi"; empty for Ray to say')
    object_store: str = Field(default="", description='memory of its object store, at least "80Mi"; empty likewise')

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        self.bytes_of("memory")
        self.bytes_of("object_store")
        return self

    def bytes_of(self, field: Literal["memory", "object_store"]) -> int | None:
        """Return an amount of memory in bytes, None where it is left to Ray."""
        amount = getattr(self, field)
        return _read(parse_memory, f"{self.config_path}.{field}", amount) if amount else None


class WorkerNodes(Node):
    """The worker nodes of a cluster beside its head: how many, and what each of them offers."""

    config_path: ClassVar[str] = "backend.worker_nodes"

    count: int = Field(default=0, ge=0, le=64, description="worker nodes, on this machine; 0 leaves it to the head")
    cpu: int | None = Field(default=1, ge=0, le=4096, description="cores of each that trials may use")
    gpu: int | None = Field(default=0, ge=0, le=1024, description="GPUs of each")


class RayParams(TrialBackend):
    """What a search on Ray asks for."""

    kind: Literal["ray"] = "ray"
    address: str = Field(
        default="", description="address of the cluster, as in 10.0.0.1:6379 or ray://10.0.0.1:10001; empty for its own"
    )
    workers: int | None = WORKERS
    batch_trials: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="trials that a Ray task runs, one after another, so that starting it pays",
    )
    asha: Asha | None = Field(
        default=None,
        description="when hopeless trials are stopped, of families that report progress "
        f"({', '.join(iterative_families())}); "
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
