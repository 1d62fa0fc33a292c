import time

import numpy as np
import pytest

from wine_assets.compute.limits import StepLimits, enforce
from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import MemoryLimitError, TimeLimitError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def test_any_other_error_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), enforce(ComputeRequest(timeout="10m"), "step"):
        1 / 0  # noqa: B018 - the error is what it is for


def test_a_step_that_took_too_long_and_too_much_is_told_of_its_time() -> None:
    def step() -> None:
        np.ones(50 << 17)
        time.sleep(10)

    with pytest.raises(TimeLimitError), enforce(ComputeRequest(memory="10Mi", timeout="0.1s"), "step"):
        step()


def test_an_enclosed_step_leaves_the_limits_of_the_enclosing_one_in_force() -> None:
    def enclosing() -> None:
        with enforce(ComputeRequest(), "inner"):
            pass
        time.sleep(10)

    outer = ComputeRequest(memory="500Mi", timeout="0.3s")
    with pytest.raises(TimeLimitError, match=r"^outer"), enforce(outer, "outer"):
        enclosing()


def test_a_block_costs_less_than_two_milliseconds_of_the_processor() -> None:
    request = ComputeRequest(timeout="10m")
    costs = []
    for _ in range(20):
        with enforce(request, "step"):
            pass
        started = time.process_time()
        with enforce(request, "step"):
            pass
        costs.append(time.process_time() - started)
    assert min(costs) < 0.002


def test_blocks_share_one_timeout() -> None:
    """A step has one timeout for all of its blocks together."""
    limits = StepLimits(ComputeRequest(timeout="0.3s"), "step")
    with limits.enforce():
        time.sleep(0.2)
    with pytest.raises(TimeLimitError, match=r"^step was stopped after 0.3 s"), limits.enforce():
        time.sleep(10)


def test_blocks_share_one_memory_limit() -> None:
    """What the first block keeps counts in the second one, too."""
    limits, kept = StepLimits(ComputeRequest(memory="60Mi"), "step"), []
    with limits.enforce():
        kept.append(np.ones(40 << 17))
    with pytest.raises(MemoryLimitError, match=r"^step asked for 60Mi"), limits.enforce():
        kept.append(np.ones(40 << 17))


def test_blocks_are_measured_together() -> None:
    """Seconds add up over the blocks, and the peak is that above the start of the first one."""
    limits, kept = StepLimits(ComputeRequest(), "step"), []
    for _ in range(2):
        with limits.enforce() as usage:
            kept.append(np.ones(20 << 17))
            time.sleep(0.05)
    assert usage.wall_seconds >= 0.1
    assert 35 << 20 < usage.peak_memory_bytes < 80 << 20
