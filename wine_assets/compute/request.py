"""ComputeRequest: how much a step may use, declared once and turned into the tags of every scheduler."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from wine_assets.compute.quantities import parse_cpu, parse_duration, parse_memory
from wine_assets.errors import ComputeRequestError

KUBERNETES_TAG = "dagster-k8s/config"
RAY_TAG = "dagster-ray/config"


def _as_text(value: object) -> object:
    """Let a JSON mapping say `"cpu": 2`, as a Kubernetes manifest may."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Quantity = Annotated[str, BeforeValidator(_as_text)]


class ComputeRequest(BaseModel):
    """How much of the machine a step may use, in Kubernetes quantities.

    A value that can't be meant raises ComputeRequestError where the request is made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: _Quantity = Field("1", description='Processor cores, as in "2" or "250m" (a quarter); 1 by default.')
    memory: _Quantity = Field("1Gi", description='Memory, as in "500Mi", "512M" or bytes; 1Gi by default.')
    gpu: int = Field(0, ge=0, le=1024, strict=True, description="Number of NVIDIA GPUs; 0 by default.")
    timeout: str = Field("", description='Longest duration, as in "90s", "10m" or "1h"; "", the default, is none.')
    retries: int = Field(
        0, ge=0, le=100, strict=True, description="How often a failed step is started again; 0 by default."
    )
    cpu_limit: _Quantity = Field("", description='Most cores a scheduler lets it use; "", the default, is `cpu`.')
    memory_limit: _Quantity = Field("", description='Most memory it may use; "", the default, is `memory`.')

    @classmethod
    def named(cls, where: str, /, **fields: Any) -> Self:
        """Return the request that `fields` describe; its ComputeRequestError says `where` they stand."""
        try:
            return cls(**fields)
        except ComputeRequestError as error:
            raise ComputeRequestError(f"The compute request of {where}: {error}") from error

    @model_validator(mode="wrap")
    @classmethod
    def _says_it_in_a_sentence(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise ComputeRequestError(_sentence(error)) from error

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        _read(parse_cpu, "cpu", self.cpu)
        _read(parse_memory, "memory", self.memory)
        if self.timeout:
            _read(parse_duration, "timeout", self.timeout)
        self._check_limit("cpu", parse_cpu)
        self._check_limit("memory", parse_memory)
        return self

    def _check_limit(self, field: str, parse: Callable[[str], Any]) -> None:
        request, limit = getattr(self, field), getattr(self, f"{field}_limit")
        if limit and _read(parse, f"{field}_limit", limit) < parse(request):
            raise ComputeRequestError(
                f"{field}_limit must be at least `{field}` ({request}), got {limit!r}. "
                f"Raise `{field}_limit`, or leave it out to have it follow `{field}`."
            )

    @property
    def cpus(self) -> float:
        """The cores asked for."""
        return float(parse_cpu(self.cpu))

    @property
    def memory_bytes(self) -> int:
        """The memory asked for, in bytes."""
        return parse_memory(self.memory)

    @property
    def memory_limit_bytes(self) -> int:
        """The most memory that the step may use, in bytes."""
        return parse_memory(self.memory_limit or self.memory)

    @property
    def timeout_s(self) -> float | None:
        """The longest duration in seconds, None where there is no such limit."""
        return parse_duration(self.timeout) if self.timeout else None

    @property
    def threads(self) -> int:
        """The threads that a computation may use: the whole cores asked for, and at least one."""
        return max(1, math.floor(self.cpus))

    def op_tags(self) -> dict[str, Any]:
        """Return the tags by which dagster-k8s and dagster-ray give the step what it asks for."""
        return {**kubernetes_tags(self), **ray_tags(self)}


def kubernetes_tags(request: ComputeRequest) -> dict[str, Any]:
    """Return the tag that dagster-k8s reads: the resources of the step's container."""
    gpu = {"nvidia.com/gpu": str(request.gpu)} if request.gpu else {}
    resources = {
        "requests": {"cpu": request.cpu, "memory": request.memory, **gpu},
        "limits": {"cpu": request.cpu_limit or request.cpu, "memory": request.memory_limit or request.memory, **gpu},
    }
    return {KUBERNETES_TAG: {"container_config": {"resources": resources}}}


def ray_tags(request: ComputeRequest) -> dict[str, Any]:
    """Return the tag that dagster-ray reads: cores, GPUs and memory in bytes that Ray sets aside for the step."""
    return {RAY_TAG: {"num_cpus": request.cpus, "num_gpus": request.gpu, "memory": request.memory_bytes}}


def override(requests: Mapping[str, ComputeRequest], overrides: Mapping[str, object]) -> dict[str, ComputeRequest]:
    """Return `requests` with the fields that `overrides` names by asset replaced, as read from a JSON object.

    Raises ComputeRequestError for an asset without a request, for anything but an object of fields, and for a
    request that can't be meant once they are replaced.
    """
    require_names(overrides, requests)
    for name, fields in overrides.items():
        _require_fields(name, fields)
    return {name: _overridden(name, request, overrides.get(name)) for name, request in requests.items()}


def require_names(overrides: Mapping[str, object], names: Collection[str]) -> None:
    """Raise ComputeRequestError for an override of an asset that is not among `names`."""
    for name in overrides:
        if name not in names:
            raise ComputeRequestError(
                f"There is no asset {name!r} whose compute request could be changed. "
                f"Name one of {', '.join(sorted(names)) or 'none'}."
            )


def _require_fields(name: str, fields: object) -> None:
    if not isinstance(fields, Mapping):
        raise ComputeRequestError(
            f"The compute request of {name} must be an object of fields, got {fields!r}. "
            'Write it as {"memory": "2Gi", "timeout": "10m"}.'
        )


def _overridden(name: str, request: ComputeRequest, fields: Any) -> ComputeRequest:
    return ComputeRequest.named(name, **{**request.model_dump(), **fields}) if fields else request


def _read(parse: Callable[[str], Any], field: str, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise ComputeRequestError(f"{field} must be {error}, got {text!r}. Change `{field}`.") from error


def _sentence(error: ValidationError) -> str:
    """Say what pydantic found in the project's own words, of the first finding alone."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "A compute request"
    if first["type"] == "extra_forbidden":
        return f"{field!r} is not a field of a compute request. Use {', '.join(ComputeRequest.model_fields)}."
    return f"{field} is {first['input']!r}: {first['msg'].lower()}. Change `{field}`."
