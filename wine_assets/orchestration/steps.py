"""What every asset has in common: its request enforced and measured, its checks, its version, its errors."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from wine_assets.compute import limits
from wine_assets.compute.request import ComputeRequest
from wine_assets.data.checks import CheckResult, CheckSpec
from wine_assets.errors import SourceError, TimeLimitError, UnreachableSourceError, WineAssetsError
from wine_assets.orchestration import data_versions, io_managers
from wine_assets.orchestration.interrupts import never_retried

Frame = Any
"""A pandas frame; an alias, because definitions load without pandas."""
Model = Any
"""A FittedModel; an alias, because a step reads its inputs itself."""

OWNERS = ["team:wine"]
READABLE = "readable"
_OWN_ARGUMENTS = ("config", "run_id", "instance")
"""What a function is given beside the assets that it reads: their config, the run that makes it, and its instance."""
_MEBIBYTE = 2**20
_RETRY_DELAY_S = 5
_WORTH_A_RETRY = (UnreachableSourceError, TimeLimitError)


@dataclass(frozen=True)
class Made:
    """What an asset made: its value, what to show of it, and how its checks went."""

    value: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    outcomes: Sequence[CheckResult] = ()
    warnings: Sequence[str] = ()
    """What the run's log, and the metadata, should warn of."""
    identity: Mapping[str, Any] | None = None
    """What the data version is made of in place of the config, where the content has a hash of its own."""

    @property
    def all_warnings(self) -> list[str]:
        """What should be warned of, and what each check says that failed and doesn't block."""
        failed = [outcome.message for outcome in self.outcomes if not outcome.blocking and not outcome.passed]
        return [*self.warnings, *failed]

    @property
    def refusals(self) -> list[str]:
        """What each blocking check that failed says; a value with any of these is not stored."""
        return [outcome.message for outcome in self.outcomes if outcome.blocking and not outcome.passed]


@dataclass(frozen=True)
class Step:
    """An asset: the function that makes its value, and all that is declared of it."""

    compute: Callable[..., Made]
    group: str
    format_name: str
    kinds: frozenset[str]
    code_version: str
    request: ComputeRequest
    checks: tuple[CheckSpec, ...]
    condition: Any
    after: tuple[str, ...] = ()
    """The assets that it may look at beside its inputs, whose content is not passed to it."""

    @property
    def name(self) -> str:
        """The name of the asset."""
        return self.compute.__name__

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the assets that it reads, in order."""
        return tuple(name for name in inspect.signature(self.compute).parameters if name not in _OWN_ARGUMENTS)

    def version(self, made_of: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        """Return the data version that the asset has, or will have, when it is made of these."""
        return data_versions.data_version(self.name, self.code_version, made_of, inputs)

    def asset(self, request: ComputeRequest) -> dg.AssetsDefinition:
        """Return the Dagster asset, held to `request`."""
        return dg.asset(
            name=self.name,
            group_name=self.group,
            owners=OWNERS,
            kinds=set(self.kinds),
            deps=self.after,
            ins={name: dg.AssetIn(input_manager_key=io_managers.STORED) for name in self.inputs},
            io_manager_key=self.format_name,
            code_version=self.code_version,
            op_tags=request.op_tags(),
            retry_policy=retry_policy(request),
            check_specs=[
                dg.AssetCheckSpec(check.name, asset=self.name, description=check.description, blocking=check.blocking)
                for check in self.checks
            ],
            automation_condition=self.condition,
            description=inspect.getdoc(self.compute),
        )(_compute_function(self, request))


def step(  # noqa: PLR0913 - a declaration names what it declares
    *,
    group: str,
    format_name: str,
    kinds: set[str],
    code_version: str,
    request: ComputeRequest,
    checks: Sequence[CheckSpec] = (),
    condition: dg.AutomationCondition[Any] | None = None,
    after: Sequence[str] = (),
) -> Callable[[Callable[..., Made]], Step]:
    """Declare the asset that a function of (config, run_id, instance, inputs ...) makes.

    The first three it is given where it asks for them.
    """

    def declared(compute: Callable[..., Made]) -> Step:
        about = (group, format_name, frozenset(kinds), code_version, request, tuple(checks), condition, tuple(after))
        return Step(compute, *about)

    return declared


def retry_policy(request: ComputeRequest) -> dg.RetryPolicy | None:
    """Return the policy for a request's retries, or None when it has none."""
    if not request.retries:
        return None
    return dg.RetryPolicy(request.retries, delay=_RETRY_DELAY_S, backoff=dg.Backoff.EXPONENTIAL)


def _compute_function(declared: Step, request: ComputeRequest) -> Callable[..., Iterator[Any]]:
    """Return the function that Dagster calls: it reads, computes and stores within the request, then tells of it."""

    def compute(context: dg.AssetExecutionContext, **given: Any) -> Iterator[Any]:
        version, stored = "", {}
        try:
            with never_retried(), limits.enforce(request, declared.name) as usage:
                made = declared.compute(**_arguments(declared, context, given))
                if not made.refusals:
                    version = _version(declared, context, made, given.get("config"))
                    path = io_managers.artifact_path(declared.name, version, declared.format_name)
                    stored = io_managers.store(made.value, path, declared.format_name)
        except WineAssetsError as error:
            yield from _readable(declared, error)
            raise dg.Failure(str(error), allow_retries=isinstance(error, _WORTH_A_RETRY)) from error
        yield from _events(declared, context, made, version, {**stored, **_used(request, usage)})

    return _signed_for_dagster(compute, declared)


def _arguments(declared: Step, context: dg.AssetExecutionContext, given: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {name: _read(value) for name, value in given.items()}
    own = {"run_id": context.run.run_id, "instance": context.instance}
    asked = inspect.signature(declared.compute).parameters
    return arguments | {name: value for name, value in own.items() if name in asked}


def _read(value: Any) -> Any:
    return value.read() if isinstance(value, io_managers.Stored) else value


def _signed_for_dagster(compute: Callable[..., Iterator[Any]], declared: Step) -> Callable[..., Iterator[Any]]:
    """Give `compute` the name and the arguments that Dagster reads; the result is declared by the asset itself."""
    functools.update_wrapper(compute, declared.compute)
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.AssetExecutionContext)
    signature = inspect.signature(declared.compute)
    given = (
        parameter if parameter.name == "config" else parameter.replace(annotation=Any)  # a Stored, until it is read
        for parameter in signature.parameters.values()
        if parameter.name not in ("run_id", "instance")
    )
    parameters = [context, *given]
    compute.__signature__ = signature.replace(parameters=parameters, return_annotation=Any)  # type: ignore[attr-defined]
    compute.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return compute


def _events(
    declared: Step, context: dg.AssetExecutionContext, made: Made, version: str, shown: Mapping[str, Any]
) -> Iterator[Any]:
    results = [*_readable(declared, None), *map(_check_result, made.outcomes)]
    if made.refusals:
        yield from results
        raise dg.Failure(" ".join(made.refusals), allow_retries=False)
    for warning in made.warnings:
        context.log.warning(warning)
    metadata = {**made.metadata, **shown, "warnings": " ".join(made.all_warnings) or "none"}
    yield output(made.value, metadata, version)
    yield from results


def output(value: Any, metadata: Mapping[str, Any], version: str) -> dg.Output[Any]:
    """Return what Dagster is given of an asset that was made."""
    with warnings.catch_warnings():
        # Dagster calls the argument `data_version` beta; the pinned version has it.
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        return dg.Output(value, metadata=metadata, data_version=dg.DataVersion(version))


def _version(declared: Step, context: dg.AssetExecutionContext, made: Made, config: dg.Config | None) -> str:
    made_of = made.identity
    if made_of is None:
        made_of = config.model_dump(mode="json") if config is not None else {}
    inputs = {
        name: data_versions.consumed(context.instance, context.run.run_id, dg.AssetKey(name))
        for name in declared.inputs
    }
    return declared.version(made_of, inputs)


def _check_result(outcome: CheckResult) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if outcome.blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=outcome.name,
        passed=outcome.passed,
        severity=severity,
        description=outcome.message,
        metadata=dict(outcome.metadata),
    )


def _readable(declared: Step, error: WineAssetsError | None) -> Iterator[dg.AssetCheckResult]:
    """Yield how reading went, for an asset that has a check of it and unless `error` has another cause."""
    if not any(check.name == READABLE for check in declared.checks):
        return
    if error is None or isinstance(error, SourceError):
        message = str(error or "The source was read.")
        yield _check_result(CheckResult(READABLE, passed=error is None, blocking=True, message=message))


def _used(request: ComputeRequest, usage: limits.Usage) -> dict[str, Any]:
    return {
        "requested_cpu": request.cpu,
        "requested_memory": request.memory,
        "peak_memory_mib": round(usage.peak_memory_bytes / _MEBIBYTE, 1),
        "cpu_seconds": round(usage.cpu_seconds, 3),
        "wall_seconds": round(usage.wall_seconds, 3),
    }
