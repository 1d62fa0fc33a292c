import os
import subprocess
from collections.abc import Callable

import pytest
from threadpoolctl import threadpool_info

from wine_assets.compute.limits import enforce
from wine_assets.compute.request import ComputeRequest

pytestmark = pytest.mark.usefixtures("nothing_left_behind")
RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]


def test_libraries_loaded_before_the_step_compute_with_the_threads_it_asked_for() -> None:
    before = [library["num_threads"] for library in threadpool_info()]
    with enforce(ComputeRequest(cpu="1"), "step"):
        assert {library["num_threads"] for library in threadpool_info()} == {1}
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_libraries_loaded_by_the_step_compute_with_the_threads_it_asked_for(run_program: RunProgram) -> None:
    ended = run_program("""
    with enforce(ComputeRequest(cpu="1"), "step"):
        import numpy, sklearn.linear_model
        from threadpoolctl import threadpool_info
        print(len(threadpool_info()) > 1, {library["num_threads"] for library in threadpool_info()})
    """)
    assert (ended.stdout, ended.stderr) == ("True {1}\n", "")


def test_a_step_never_gets_more_threads_than_the_machine_has_cores() -> None:
    with enforce(ComputeRequest(cpu="1000"), "step"):
        assert int(os.environ["OMP_NUM_THREADS"]) <= len(os.sched_getaffinity(0))


def test_the_user_s_thread_variables_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with enforce(ComputeRequest(), "step"):
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
