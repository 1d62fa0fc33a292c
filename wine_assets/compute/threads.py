"""The threads that BLAS and OpenMP libraries compute with during a step."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wine_assets.compute.environment import environment

_CGROUP_LIMITS = Path("/sys/fs/cgroup/cpu.max")
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextlib.contextmanager
def limit_threads(most: int) -> Iterator[None]:
    """Cap the threads of the libraries loaded already, and by their variables those of the ones loaded in the block."""
    count = usable_threads(most)
    with environment(dict.fromkeys(_VARIABLES, str(count))), _controller(len(sys.modules)).limit(limits=count):
        yield


def usable_threads(most: int) -> int:
    """Return `most`, or the cores that this process may use where there are fewer."""
    return min(most, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def granted_cores(limits: Path = _CGROUP_LIMITS) -> int:
    """Return the cores that this process may use, or those that its container's limit lets it use where that is less.

    The limit is that of cgroups of version 2: microseconds of CPU in a period, or `max`.
    """
    cores = usable_threads(os.cpu_count() or 1)
    try:
        quota, period = limits.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


@functools.lru_cache(maxsize=1)
def _controller(_modules: int) -> Any:
    """Return the libraries loaded now; finding them takes 5 ms, so that it is done anew after imports alone."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
