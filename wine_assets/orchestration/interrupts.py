"""Interrupted steps: a person who cancels a run wants none of its steps retried."""

import contextlib
from collections.abc import Iterator

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError


class InterruptedStepError(dg.DagsterError, DagsterExecutionInterruptedError):
    """A step was asked to stop.

    Dagster retries interrupted steps that have a retry policy, but errors of its own never; and it ends a run as
    cancelled for an interruption alone. Hence both.
    """


@contextlib.contextmanager
def never_retried() -> Iterator[None]:
    """Have an interruption of the block end the run, whatever retry policy the step has."""
    try:
        yield
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        raise InterruptedStepError("The step was interrupted, and is not retried.") from error
