import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_info

from wine_assets.errors import ComputeRequestError, MemoryLimitError, TimeLimitError
from wine_assets.execution import limits
from wine_assets.execution.compute import ComputeRequest
from wine_assets.execution.limits import Usage, enforced

RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]
_MIB = 1 << 20


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Every test leaves limits, timers, handlers, environment and finders as they were."""
    before = _state()
    yield
    assert _state() == before


def _state() -> tuple[object, ...]:
    timer_runs = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    handler = signal.getsignal(signal.SIGALRM)
    limit = resource.getrlimit(resource.RLIMIT_DATA)
    left = (
        limits._ends[:],
        limits._HighWater.active[:],
        sys.meta_path[:],
        {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
    )
    return (timer_runs, handler, limit, pa.default_memory_pool().backend_name, *left)


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


# --- memory


def test_a_step_that_needs_more_memory_than_it_asked_for_is_told_what_to_raise() -> None:
    expected = (
        r"wine_model asked for 500Mi of memory and needed more \(.*700.*\)\. Raise `memory` in its compute request"
    )
    with pytest.raises(MemoryLimitError, match=expected), enforced(ComputeRequest(memory="500Mi"), "wine_model"):
        np.ones(700 * _MIB // 8)


def test_a_step_with_a_limit_of_its_own_is_told_to_raise_that() -> None:
    request = ComputeRequest(memory="200Mi", memory_limit="300Mi")
    with pytest.raises(MemoryLimitError, match=r"300Mi .* Raise `memory_limit`"), enforced(request, "wine_model"):
        np.ones(400 * _MIB // 8)


def test_the_next_step_of_the_process_has_its_memory_again() -> None:
    with pytest.raises(MemoryLimitError), enforced(ComputeRequest(memory="200Mi"), "first"):
        bytearray(300 * _MIB)
    with enforced(ComputeRequest(memory="400Mi"), "second"):
        assert np.ones(300 * _MIB // 8).sum() == 300 * _MIB // 8


def test_arrow_s_own_memory_error_is_recognised() -> None:
    with pytest.raises(MemoryLimitError, match=r"ArrowMemoryError"), enforced(ComputeRequest(memory="200Mi"), "step"):
        pa.allocate_buffer(300 * _MIB)


def test_arrow_reserves_no_gigabyte_out_of_a_step_s_memory() -> None:
    with enforced(ComputeRequest(memory="200Mi"), "step"):
        assert pa.array(np.arange(1_000_000)).nbytes == 8_000_000
        assert pa.default_memory_pool().backend_name == "system"


@pytest.mark.parametrize(
    "message",
    ["std::bad_alloc", "can't start new thread", "[Errno 12] Cannot allocate memory", "Failed to allocate memory"],
)
def test_what_libraries_say_for_want_of_memory_is_recognised(message: str) -> None:
    with pytest.raises(MemoryLimitError, match=re.escape(message)), enforced(ComputeRequest(), "step"):
        raise RuntimeError(message)


def test_a_memory_error_that_a_library_made_its_own_of_is_recognised() -> None:
    def fail() -> None:
        try:
            bytearray(2 << 30)
        except MemoryError as error:
            raise ValueError("no frame") from error

    with pytest.raises(MemoryLimitError, match="ValueError: no frame"), enforced(ComputeRequest(), "step"):
        fail()


def test_any_other_error_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), enforced(ComputeRequest(timeout="10m"), "step"):
        1 / 0  # noqa: B018 - the error is what it is for


def test_an_enclosing_step_s_lower_limit_holds_and_is_named() -> None:
    outer, inner = ComputeRequest(memory="200Mi"), ComputeRequest(memory="2Gi")
    expected = "inner asked for 2Gi of memory and needed more than the .* MiB that a lower limit.*ulimit"
    with enforced(outer, "outer"), pytest.raises(MemoryLimitError, match=expected), enforced(inner, "inner"):
        bytearray(300 * _MIB)


def test_an_enclosed_step_s_error_is_not_blamed_on_the_enclosing_one() -> None:
    inner = ComputeRequest(memory="150Mi")
    with (
        pytest.raises(MemoryLimitError, match=r"^inner"),
        enforced(ComputeRequest(), "outer"),
        enforced(inner, "inner"),
    ):
        bytearray(300 * _MIB)


def test_a_limit_below_what_libraries_need_is_checked_at_the_end() -> None:
    with pytest.raises(MemoryLimitError, match=r"^step asked for 10Mi .* it took"):  # noqa: SIM117 - the error comes after
        with enforced(ComputeRequest(memory="10Mi"), "step"):
            np.ones(50 * _MIB // 8)


def test_a_limit_below_what_libraries_need_suffices_for_a_step_that_needs_less() -> None:
    with enforced(ComputeRequest(memory="20Mi"), "step"):
        np.ones(_MIB // 8)


_READ = """
    def read():
        import io, numpy as np, pandas as pd, pandera.pandas
        file = io.BytesIO()
        pd.DataFrame(np.ones((178, 14)), columns=list("abcdefghijklmn")).to_parquet(file)
        assert len(pd.read_parquet(file)) == 178
"""


def test_500mi_suffice_to_read_the_wine_data_in_a_cold_process_and_not_for_700_megabytes(
    run_program: RunProgram,
) -> None:
    ended = run_program(
        _READ
        + """
    with enforced(ComputeRequest(memory="500Mi"), "raw_wine") as usage:
        read()
    print(0 < usage.peak_memory_bytes < 500 << 20)
    try:
        with enforced(ComputeRequest(memory="500Mi"), "raw_wine"):
            import numpy as np
            np.ones(700_000_000 // 8)
    except MemoryLimitError as error:
        print(error)
    import numpy as np
    print(np.ones(700_000_000 // 8).sum())
    """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"True\nraw_wine asked for 500Mi .*\n87500000\.0\n", ended.stdout)


@pytest.mark.parametrize("memory", ["2Mi", "100Mi"])
def test_a_step_whose_imports_take_too_much_fails_and_leaves_them_usable(run_program: RunProgram, memory: str) -> None:
    ended = run_program(
        _READ
        + f"""
    def fit():
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        LogisticRegression().fit(np.arange(20.0).reshape(10, 2), [0, 1] * 5)
    for step in (read, fit):
        try:
            with enforced(ComputeRequest(memory="{memory}"), step.__name__):
                step()
        except MemoryLimitError as error:
            print(error)
    read(), fit()
    """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(rf"(read|fit) asked for {memory} .*\n(fit asked for {memory} .*\n)?", ended.stdout)


def test_where_the_system_does_not_tell_memory_nothing_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_STATUS", Path("/nowhere/status"))
    monkeypatch.setattr(limits, "_CLEAR_REFS", Path("/nowhere/clear_refs"))
    with enforced(ComputeRequest(memory="10Mi"), "step") as usage:
        np.ones(50 * _MIB // 8)
    assert usage.peak_memory_bytes >= 0


def test_a_memory_error_is_nobody_s_limit_where_nothing_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_STATUS", Path("/nowhere/status"))
    with pytest.raises(MemoryError), enforced(ComputeRequest(), "step"):
        raise MemoryError


# --- threads


def test_libraries_loaded_before_the_step_compute_with_the_threads_it_asked_for() -> None:
    before = [library["num_threads"] for library in threadpool_info()]
    with enforced(ComputeRequest(cpu="1"), "step"):
        assert {library["num_threads"] for library in threadpool_info()} == {1}
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_libraries_loaded_by_the_step_compute_with_the_threads_it_asked_for(run_program: RunProgram) -> None:
    ended = run_program("""
    with enforced(ComputeRequest(cpu="1"), "step"):
        import numpy, sklearn.linear_model
        from threadpoolctl import threadpool_info
        print(len(threadpool_info()) > 1, {library["num_threads"] for library in threadpool_info()})
    """)
    assert (ended.stdout, ended.stderr) == ("True {1}\n", "")


def test_a_step_never_gets_more_threads_than_the_machine_has_cores() -> None:
    with enforced(ComputeRequest(cpu="1000"), "step"):
        assert int(os.environ["OMP_NUM_THREADS"]) <= len(os.sched_getaffinity(0))


def test_the_user_s_thread_variables_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with enforced(ComputeRequest(), "step"):
        assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"


# --- time


def test_python_code_over_its_timeout_is_stopped() -> None:
    started = time.monotonic()
    expected = r"raw_wine was stopped after 0\.2 s, its compute request's timeout \(0\.2s\)\. Raise `timeout`"
    with pytest.raises(TimeLimitError, match=expected), enforced(ComputeRequest(timeout="0.2s"), "raw_wine"):
        _spin(10)
    assert time.monotonic() - started < 2


def test_a_timeout_that_the_step_swallows_fails_it_at_its_end() -> None:
    def swallow() -> None:
        with contextlib.suppress(TimeLimitError):
            _spin(10)

    with pytest.raises(TimeLimitError), enforced(ComputeRequest(timeout="0.1s"), "step"):
        swallow()


def test_a_timeout_that_the_step_makes_another_error_of_is_a_timeout() -> None:
    def disguise() -> None:
        try:
            _spin(10)
        except TimeLimitError:
            raise ValueError("something else") from None

    with pytest.raises(TimeLimitError), enforced(ComputeRequest(timeout="0.1s"), "step"):
        disguise()


def test_a_step_outside_the_main_thread_is_found_late_at_its_end() -> None:
    caught: list[TimeLimitError] = []

    def step() -> None:
        try:
            with enforced(ComputeRequest(timeout="0.1s"), "step"):
                time.sleep(0.2)
        except TimeLimitError as error:
            caught.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_an_enclosing_step_s_timeout_stops_the_enclosed_one() -> None:
    outer, inner = ComputeRequest(timeout="0.1s"), ComputeRequest(timeout="10m")
    with pytest.raises(TimeLimitError, match=r"^outer"), enforced(outer, "outer"), enforced(inner, "inner"):
        _spin(10)


def test_an_enclosing_step_s_timeout_goes_on_after_the_enclosed_one() -> None:
    outer, inner = ComputeRequest(timeout="1s"), ComputeRequest(timeout="0.1s")

    def enclosing() -> None:
        with pytest.raises(TimeLimitError, match=r"^inner"), enforced(inner, "inner"):
            _spin(10)
        _spin(10)

    with pytest.raises(TimeLimitError, match=r"^outer"), enforced(outer, "outer"):
        enclosing()


@pytest.fixture
def rings(request: pytest.FixtureRequest) -> Iterator[list[float]]:
    """Note when somebody else's alarm rings: in 0.05 s, and every `param` seconds from then on."""
    heard: list[float] = []
    timer = signal.getitimer(signal.ITIMER_REAL)
    handler = signal.signal(signal.SIGALRM, lambda *_: heard.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.05, request.param)
    yield heard
    signal.setitimer(signal.ITIMER_REAL, *timer)
    signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("rings", [0.05], indirect=True)
def test_somebody_else_s_alarm_rings_during_the_step_and_after_it(rings: list[float]) -> None:
    with enforced(ComputeRequest(timeout="10m"), "step"):
        _spin(0.17)
    during = len(rings)
    _spin(0.17)
    assert during >= 2
    assert len(rings) - during >= 2


@pytest.mark.parametrize("rings", [0.0], indirect=True)
def test_somebody_else_s_single_alarm_rings_once(rings: list[float]) -> None:
    with enforced(ComputeRequest(timeout="10m"), "step"):
        _spin(0.17)
    assert len(rings) == 1


def _spin_past_an_early_alarm() -> None:
    signal.raise_signal(signal.SIGALRM)
    _spin(10)


def test_an_alarm_that_comes_early_is_set_again() -> None:
    with pytest.raises(TimeLimitError), enforced(ComputeRequest(timeout="0.2s"), "step"):
        _spin_past_an_early_alarm()


@pytest.mark.parametrize(
    "hang",
    ["re.match('(a+)+$', 'a' * 64 + 'b')", "sum(range(10**14))"],
)
def test_a_c_call_that_never_returns_ends_the_process_after_the_grace(run_program: RunProgram, hang: str) -> None:
    started = time.monotonic()
    ended = run_program(f"""
    with enforced(ComputeRequest(timeout="0.3s"), "step", grace_s=0.5):
        try:
            {hang}
        except TimeLimitError:
            {hang}
    """)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert time.monotonic() - started < 20


def test_a_step_outside_the_main_thread_ends_the_process_after_the_grace(run_program: RunProgram) -> None:
    ended = run_program("""
    import threading
    def step():
        with enforced(ComputeRequest(timeout="0.2s"), "step", grace_s=0.3):
            time.sleep(60)
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    """)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr


def test_a_step_in_time_is_not_ended_later(run_program: RunProgram) -> None:
    ended = run_program("""
    with enforced(ComputeRequest(timeout="1s"), "step", grace_s=0.1):
        pass
    time.sleep(1.3)
    print("here")
    """)
    assert (ended.returncode, ended.stdout) == (0, "here\n")


# --- GPUs


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str | None], None]:
    """Give the machine GPUs, and the user a CUDA_VISIBLE_DEVICES."""

    def set_up(present: int, visible: str | None) -> None:
        monkeypatch.setattr(limits, "_gpus_present", lambda: present)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return set_up


@pytest.mark.parametrize(
    ("present", "visible", "usable"),
    [(0, None, 0), (0, "0,1", 0), (2, None, 2), (2, "1", 1), (2, "", 0), (2, "-1", 0), (4, "0,-1,2", 1), (1, "0,1", 1)],
)
def test_a_gpu_that_is_not_there_is_refused(
    machine: Callable[[int, str | None], None], present: int, visible: str | None, usable: int
) -> None:
    machine(present, visible)
    if usable:
        with enforced(ComputeRequest(gpu=usable), "step"):
            pass
    asked = usable + 1
    expected = rf"step asked for {asked} GPUs? and {usable or 'none'} can be used here .* lower `gpu`"
    with pytest.raises(ComputeRequestError, match=expected), enforced(ComputeRequest(gpu=asked), "step"):
        pytest.fail("the step ran")


def test_the_driver_s_tool_is_asked_where_there_are_no_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(limits, "_DEVICES", tmp_path / "dev")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert limits._gpus_present() == 1
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert limits._gpus_present() == 0


def test_gpus_are_counted_by_their_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(limits, "_DEVICES", tmp_path)
    assert limits._gpus_present() == 2


# --- what was used


def test_usage_tells_peak_memory_cpu_and_wall_time() -> None:
    with enforced(ComputeRequest(), "step") as usage:
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
        with enforced(ComputeRequest(memory="200Mi"), "step") as usage:
            seen.append(usage)
            np.ones(100 * _MIB // 8)
            bytearray(300 * _MIB)

    with pytest.raises(MemoryLimitError):
        step()
    assert seen[0].peak_memory_bytes > 95 * _MIB
    assert seen[0].wall_seconds > 0


def test_an_enclosed_step_does_not_hide_the_peak_of_the_enclosing_one() -> None:
    with enforced(ComputeRequest(), "outer") as outer:
        np.ones(100 * _MIB // 8)
        with enforced(ComputeRequest(), "inner") as inner:
            np.ones(_MIB // 8)
    assert outer.peak_memory_bytes > 95 * _MIB
    assert inner.peak_memory_bytes < 20 * _MIB


def test_a_block_costs_less_than_two_milliseconds_of_the_processor() -> None:
    request = ComputeRequest(timeout="10m")
    costs = []
    for _ in range(20):
        with enforced(request, "step"):
            pass
        started = time.process_time()
        with enforced(request, "step"):
            pass
        costs.append(time.process_time() - started)
    assert min(costs) < 0.002
