"""The limits of a step: its compute request, failures in one sentence, and no retry after an interruption."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import dagster as dg

from wine_assets import settings
from wine_assets.compute.limits import StepLimits
from wine_assets.compute.request import ComputeRequest, override
from wine_assets.data.checks import CheckSpec
from wine_assets.errors import TimeLimitError, UnreachableSourceError, WineAssetsError
from wine_assets.orchestration.dagster_internals import DagsterExecutionInterruptedError

COMPUTE_TAG = "wine_assets/compute"
"""The op tag that holds the whole compute request of an asset as JSON."""
OWNERS = ["team:wine"]
Events = Iterator[dg.AssetCheckResult | dg.Output[Any]]
"""What the function of an asset yields: the results of its checks, and its output."""
_MEBIBYTE = 2**20
_RETRY_DELAY_S = 5
_WORTH_A_RETRY = (UnreachableSourceError, TimeLimitError)
_limits_by_step: "weakref.WeakKeyDictionary[Any, StepLimits]" = weakref.WeakKeyDictionary()


class InterruptedStepError(dg.DagsterError, DagsterExecutionInterruptedError):
    """A step was asked to stop.

    Dagster retries an interrupted step that has a retry policy, but never an error of its own. It ends a run as
    canceled only for an interruption. Hence both base classes.
    """


class Declaration(TypedDict):
    """The arguments of `dg.asset` that follow from an asset's name, its compute request and its checks."""

    name: str
    owners: Sequence[str]
    op_tags: Mapping[str, Any]
    retry_policy: dg.RetryPolicy | None
    check_specs: Sequence[dg.AssetCheckSpec]


def resolve_request(asset: str, request: ComputeRequest) -> ComputeRequest:
    """Return `request` with the fields that WINE_ASSETS_COMPUTE names for the asset in place of its own.

    Raise SettingsError or ComputeRequestError where the variable makes no sense.
    """
    overrides = settings.compute_overrides()
    return override({asset: request}, {name: fields for name, fields in overrides.items() if name == asset})[asset]


def declaration(asset: str, request: ComputeRequest, checks: Sequence[CheckSpec] = ()) -> Declaration:
    """Return the arguments of `dg.asset` for an asset with these checks, held to `request` or what overrides it."""
    request = resolve_request(asset, request)
    return Declaration(
        name=asset,
        owners=OWNERS,
        op_tags={**request.op_tags(), COMPUTE_TAG: request.model_dump_json()},
        retry_policy=retry_policy(request),
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.blocking)
            for check in checks
        ],
    )


def retry_policy(request: ComputeRequest) -> dg.RetryPolicy | None:
    """Return the policy for a request's retries, or None when it has none."""
    if not request.retries:
        return None
    return dg.RetryPolicy(request.retries, delay=_RETRY_DELAY_S, backoff=dg.Backoff.EXPONENTIAL)


def enforced(compute: Callable[..., Events]) -> Callable[..., Events]:
    """Decorate the function of an asset, so that it runs within the compute request of its declaration.

    Its events are yielded when it has ended, because a deadline must not interrupt Dagster's own code. After a failure
    the check results are yielded, but no output: what a blocking check refuses is never stored. The output comes
    first, because Dagster counts a check result as one of the newest materialization.
    """

    @functools.wraps(compute)
    def call(context: dg.AssetExecutionContext, *arguments: Any, **inputs: Any) -> Events:
        events: list[dg.AssetCheckResult | dg.Output[Any]] = []
        failure = None
        try:
            with enforce(context.get_step_execution_context()):
                events.extend(compute(context, *arguments, **inputs))  # it keeps those that come before an error
        except dg.Failure as error:
            failure = error
        yield from (event for event in events if isinstance(event, dg.Output) and failure is None)
        yield from (event for event in events if isinstance(event, dg.AssetCheckResult))
        if failure is not None:
            raise failure

    return call


@contextlib.contextmanager
def enforce(step: Any) -> Iterator[None]:
    """Hold the block to what is left of a step's compute request; a step without one has no limits.

    `step` is Dagster's step context. Reading, computing and storing are blocks of one step. An error of the project
    becomes a dg.Failure with its sentence, which Dagster retries only if another attempt can go better.
    """
    limits = _step_limits(step)
    try:
        with never_retry(), limits.enforce() if limits else contextlib.nullcontext():
            yield
    except WineAssetsError as error:
        raise dg.Failure(str(error), allow_retries=isinstance(error, _WORTH_A_RETRY)) from error


def usage_metadata(step: Any) -> Mapping[str, Any]:
    """Return what a step asked for and what its blocks have used; nothing for a step without a compute request."""
    limits = _step_limits(step)
    if limits is None:
        return {}
    return {
        "requested_cpu": limits.request.cpu,
        "requested_memory": limits.request.memory,
        "peak_memory_mib": round(limits.usage.peak_memory_bytes / _MEBIBYTE, 1),
        "cpu_seconds": round(limits.usage.cpu_seconds, 3),
        "wall_seconds": round(limits.usage.wall_seconds, 3),
    }


@contextlib.contextmanager
def never_retry() -> Iterator[None]:
    """Let an interruption of the block end the run, whatever retry policy the step has."""
    try:
        yield
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        raise InterruptedStepError("The step was interrupted, and is not retried.") from error


def _step_limits(step: Any) -> StepLimits | None:
    """Return the limits of one attempt of a step, which its context stands for."""
    tag = step.op_def.tags.get(COMPUTE_TAG)
    if tag is None:
        return None
    if step not in _limits_by_step:
        _limits_by_step[step] = StepLimits(ComputeRequest.model_validate_json(tag), step.op_def.name)
    return _limits_by_step[step]
