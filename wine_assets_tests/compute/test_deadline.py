import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from wine_assets.compute.limits import enforce
from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import TimeLimitError

pytestmark = pytest.mark.usefixtures("nothing_left_behind")
RunProgram = Callable[[str], "subprocess.CompletedProcess[str]"]


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_python_code_over_its_timeout_is_stopped() -> None:
    started = time.monotonic()
    expected = r"raw_wine was stopped after 0\.2 s, its compute request's timeout \(0\.2s\)\. Raise `timeout`"
    with pytest.raises(TimeLimitError, match=expected), enforce(ComputeRequest(timeout="0.2s"), "raw_wine"):
        _spin(10)
    assert time.monotonic() - started < 2


def test_a_timeout_that_the_step_swallows_fails_it_at_its_end() -> None:
    def swallow() -> None:
        with contextlib.suppress(TimeLimitError):
            _spin(10)

    with pytest.raises(TimeLimitError), enforce(ComputeRequest(timeout="0.1s"), "step"):
        swallow()


def test_a_timeout_that_the_step_makes_another_error_of_is_a_timeout() -> None:
    def disguise() -> None:
        try:
            _spin(10)
        except TimeLimitError:
            raise ValueError("something else") from None

    with pytest.raises(TimeLimitError), enforce(ComputeRequest(timeout="0.1s"), "step"):
        disguise()


def test_a_step_outside_the_main_thread_is_found_late_at_its_end() -> None:
    caught: list[TimeLimitError] = []

    def step() -> None:
        try:
            with enforce(ComputeRequest(timeout="0.1s"), "step"):
                time.sleep(0.2)
        except TimeLimitError as error:
            caught.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_an_enclosing_step_s_timeout_stops_the_enclosed_one() -> None:
    outer, inner = ComputeRequest(timeout="0.1s"), ComputeRequest(timeout="10m")
    with pytest.raises(TimeLimitError, match=r"^outer"), enforce(outer, "outer"), enforce(inner, "inner"):
        _spin(10)


def test_an_enclosing_step_s_timeout_goes_on_after_the_enclosed_one() -> None:
    outer, inner = ComputeRequest(timeout="1s"), ComputeRequest(timeout="0.1s")

    def enclosing() -> None:
        with pytest.raises(TimeLimitError, match=r"^inner"), enforce(inner, "inner"):
            _spin(10)
        _spin(10)

    with pytest.raises(TimeLimitError, match=r"^outer"), enforce(outer, "outer"):
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
    with enforce(ComputeRequest(timeout="10m"), "step"):
        _spin(0.17)
    during = len(rings)
    _spin(0.17)
    assert during >= 2
    assert len(rings) - during >= 2


@pytest.mark.parametrize("rings", [0.0], indirect=True)
def test_somebody_else_s_single_alarm_rings_once(rings: list[float]) -> None:
    with enforce(ComputeRequest(timeout="10m"), "step"):
        _spin(0.17)
    assert len(rings) == 1


def _spin_past_an_early_alarm() -> None:
    signal.raise_signal(signal.SIGALRM)
    _spin(10)


def test_an_alarm_that_comes_early_is_set_again() -> None:
    with pytest.raises(TimeLimitError), enforce(ComputeRequest(timeout="0.2s"), "step"):
        _spin_past_an_early_alarm()


@pytest.mark.parametrize(
    "hang",
    ["re.match('(a+)+$', 'a' * 64 + 'b')", "sum(range(10**14))"],
)
def test_a_c_call_that_never_returns_ends_the_process_after_the_grace(run_program: RunProgram, hang: str) -> None:
    started = time.monotonic()
    ended = run_program(f"""
    with enforce(ComputeRequest(timeout="0.3s"), "step", grace_s=0.5):
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
        with enforce(ComputeRequest(timeout="0.2s"), "step", grace_s=0.3):
            time.sleep(60)
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    """)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr


def test_a_step_in_time_is_not_ended_later(run_program: RunProgram) -> None:
    ended = run_program("""
    with enforce(ComputeRequest(timeout="1s"), "step", grace_s=0.1):
        pass
    time.sleep(1.3)
    print("here")
    """)
    assert (ended.returncode, ended.stdout) == (0, "here\n")
