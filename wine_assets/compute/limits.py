"""A ComputeRequest held to in this process: its GPUs, memory, threads and time, and what was really used.

Limits belong to the process: blocks may enclose each other, and are not meant to run side by side in threads.
"""

import contextlib
from collections.abc import Iterator

from wine_assets.compute import deadline, gpus, memory, threads
from wine_assets.compute.request import ComputeRequest
from wine_assets.compute.usage import Usage, measure

__all__ = ["GRACE_S", "Usage", "enforce"]

GRACE_S = 5.0


@contextlib.contextmanager
def enforce(request: ComputeRequest, step: str, *, grace_s: float = GRACE_S) -> Iterator[Usage]:
    """Hold the block to `request` and measure it; `step` names it in errors.

    Raises ComputeRequestError for GPUs that are not there, MemoryLimitError when the block needs more memory than
    its limit, and TimeLimitError when it takes longer than its timeout. The process lives on after each of them;
    it ends, with status 1, only where the block is still not left `grace_s` seconds after its timeout.
    """
    gpus.check(request.gpu, step)
    end = deadline.Deadline.of(request, step)
    with (
        deadline.limit_time(end, grace_s),
        memory.limit_memory(request, step),
        threads.limit_threads(request.threads),
        measure() as usage,
        deadline.alarm(end),  # the innermost, so that it rings in the block alone, not while the others clean up
    ):
        yield usage
    memory.check(request, step, usage.peak_memory_bytes)
