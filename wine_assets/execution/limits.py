"""A ComputeRequest held to in this process: memory, threads, time and GPUs, with what was really used."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from wine_assets.execution.compute import ComputeRequest


@dataclass
class Usage:
    """What a block used; filled when it ends, well or not."""

    peak_memory_bytes: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


@contextlib.contextmanager
def enforced(request: ComputeRequest, step: str) -> Iterator[Usage]:
    """Hold the block to `request` and measure it; `step` names it in errors."""
    usage = Usage()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield usage
    finally:
        usage.wall_seconds, usage.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
