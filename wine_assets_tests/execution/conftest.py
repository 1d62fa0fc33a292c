import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from wine_assets.execution import deadline, usage

_PRELUDE = """\
import faulthandler, re, sys, time
from wine_assets.errors import MemoryLimitError, TimeLimitError
from wine_assets.execution.compute import ComputeRequest
from wine_assets.execution.limits import enforced
"""

RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_program() -> RunProgram:
    """Run a program in a process of its own, with limits and requests at hand, and return what became of it."""

    def run(body: str) -> "subprocess.CompletedProcess[str]":
        program = _PRELUDE + textwrap.dedent(body)
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)

    return run


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """Limits, timers, handlers and variables are after the test as they were before."""
    before = _state()
    yield
    assert _state() == before


def _state() -> tuple[object, ...]:
    return (
        signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        signal.getsignal(signal.SIGALRM),
        resource.getrlimit(resource.RLIMIT_DATA),
        pa.default_memory_pool().backend_name,
        deadline._ends[:],
        usage._HighWater.active[:],
        {name: value for name, value in os.environ.items() if name.endswith(("_NUM_THREADS", "_MEMORY_POOL"))},
    )
