"""A ComputeRequest held to in this process: its GPUs, memory, threads and time, and what was really used.

Limits belong to the process: blocks may enclose each other, and are not meant to run side by side in threads.
"""

import contextlib
from collections.abc import Iterator

from wine_assets.compute import deadline, gpus, memory, threads
from wine_assets.compute.request import ComputeRequest
from wine_assets.compute.usage import Usage, measure

__all__ = ["GRACE_S", "StepLimits", "Usage", "enforce"]

GRACE_S = 5.0


class StepLimits:
    """A request that holds over the blocks of one step: one deadline, one bound of memory, one measurement.

    Dagster calls a step's reading, computing and storing one after another. The time between the blocks counts toward
    the timeout, and memory counts from the start of the first block.
    """

    def __init__(self, request: ComputeRequest, step: str, *, grace_s: float = GRACE_S) -> None:
        self.request = request
        self.usage = Usage()
        self._step, self._grace_s = step, grace_s
        self._deadline: deadline.Deadline | None = None
        self._data_before: int | None = None

    @contextlib.contextmanager
    def enforce(self) -> Iterator[Usage]:
        """Hold one more block to what is left of the request; raise as `enforce` of this module does."""
        if self._deadline is None:
            gpus.check(self.request.gpu, self._step)
            self._deadline = deadline.Deadline.of(self.request, self._step)
        with (
            deadline.limit_time(self._deadline, self._grace_s),
            memory.limit_memory(self.request, self._step, self._data_before) as self._data_before,
            threads.limit_threads(self.request.threads),
            measure(self.usage),
            deadline.alarm(self._deadline),  # the innermost: it rings in the block alone, not while the others clean up
        ):
            yield self.usage
        memory.check(self.request, self._step, self.usage.peak_memory_bytes)


@contextlib.contextmanager
def enforce(request: ComputeRequest, step: str, *, grace_s: float = GRACE_S) -> Iterator[Usage]:
    """Hold the block to `request` and measure it; `step` names it in errors.

    Raises ComputeRequestError for GPUs that are not there, MemoryLimitError when the block needs more memory than
    its limit, and TimeLimitError when it takes longer than its timeout. The process lives on after each of them;
    it ends, with status 1, only where the block is still not left `grace_s` seconds after its timeout.
    """
    with StepLimits(request, step, grace_s=grace_s).enforce() as usage:
        yield usage
