import time

import numpy as np
import pytest

from wine_assets.compute.limits import Usage, enforce
from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import MemoryLimitError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")
_MIB = 1 << 20


def test_usage_tells_peak_memory_cpu_and_wall_time() -> None:
    with enforce(ComputeRequest(), "step") as usage:
        np.ones(100 * _MIB // 8)
        started = time.process_time()
        while time.process_time() - started < 0.1:
            pass
        time.sleep(0.1)
    assert 95 * _MIB < usage.peak_memory_bytes < 130 * _MIB
    assert usage.wall_seconds >= 0.2
    assert 0.1 <= usage.cpu_seconds < usage.wall_seconds


def test_usage_is_filled_when_the_step_fails() -> None:
    seen: list[Usage] = []

    def step() -> None:
        with enforce(ComputeRequest(memory="200Mi"), "step") as usage:
            seen.append(usage)
            np.ones(100 * _MIB // 8)
            bytearray(300 * _MIB)

    with pytest.raises(MemoryLimitError):
        step()
    assert seen[0].peak_memory_bytes > 95 * _MIB
    assert seen[0].wall_seconds > 0


def test_an_enclosed_step_does_not_hide_the_peak_of_the_enclosing_one() -> None:
    with enforce(ComputeRequest(), "outer") as outer:
        np.ones(100 * _MIB // 8)
        with enforce(ComputeRequest(), "inner") as inner:
            np.ones(_MIB // 8)
    assert outer.peak_memory_bytes > 95 * _MIB
    assert inner.peak_memory_bytes < 20 * _MIB
