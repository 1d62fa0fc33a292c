import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

_PRELUDE = """\
import faulthandler, re, sys, time
from wine_assets.errors import MemoryLimitError, TimeLimitError
from wine_assets.compute.request import ComputeRequest
from wine_assets.compute.limits import enforce
"""

RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_program() -> RunProgram:
    """Run a program in a process of its own, with limits and requests at hand, and return what became of it."""

    def run(body: str) -> "subprocess.CompletedProcess[str]":
        program = _PRELUDE + textwrap.dedent(body)
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)

    return run
