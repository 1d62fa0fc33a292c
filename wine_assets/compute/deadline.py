"""The moment by which a step must have ended, and what happens when it hasn't.

SIGALRM stops Python code, in the main thread alone. A C call that does not return, or a step in another thread, ends
the process after a grace period, with status 1 and the stack of each thread on standard error.
"""

import contextlib
import faulthandler
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import MemoryLimitError, TimeLimitError

_STANDARD_ERROR = 2
_SOON_S = 1e-6  # zero would switch a timer off


@dataclass(frozen=True)
class Deadline:
    """The moment (time.monotonic seconds, infinity is never) when a block is late, and what is said then."""

    moment: float
    message: str = ""

    @classmethod
    def of(cls, request: ComputeRequest, step: str) -> "Deadline":
        """Return the deadline of a step that begins now."""
        seconds = request.timeout_s
        if seconds is None:
            return cls(math.inf)
        message = (
            f"{step} was stopped after {seconds:g} s, its compute request's timeout ({request.timeout}). "
            "Raise `timeout` in its compute request (WINE_ASSETS_COMPUTE)."
        )
        return cls(time.monotonic() + seconds, message)


@contextlib.contextmanager
def limit_time(deadline: Deadline, grace_s: float) -> Iterator[None]:
    """End the process when the block isn't left in time and grace; make it an error when it is left late."""
    with _force_exit(deadline.moment + grace_s):
        try:
            yield
        except (MemoryLimitError, TimeLimitError):
            raise
        except Exception as error:
            if time.monotonic() >= deadline.moment:
                raise TimeLimitError(deadline.message) from error
            raise
        if time.monotonic() >= deadline.moment:
            raise TimeLimitError(deadline.message)


@contextlib.contextmanager
def alarm(deadline: Deadline) -> Iterator[None]:
    """Raise TimeLimitError in the block at its deadline, where signals reach this thread."""
    if math.isinf(deadline.moment) or threading.current_thread() is not threading.main_thread():
        yield
        return
    alarm = _Alarm(deadline)
    try:  # Two, because the alarm may ring until it is switched off, also on the way there.
        try:
            alarm.set()
            yield
        finally:
            alarm.switch_off()
    finally:
        alarm.restore()


class _Alarm:
    """One SIGALRM of our own beside the timer and the handler that were there, which go on."""

    def __init__(self, deadline: Deadline) -> None:
        self._own, self._message = deadline.moment, deadline.message
        self._handler = signal.getsignal(signal.SIGALRM) or signal.SIG_DFL
        delay, self._interval = signal.getitimer(signal.ITIMER_REAL)
        self._theirs = time.monotonic() + delay if delay else math.inf

    def set(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        self._set_timer()

    def _set_timer(self) -> None:
        following = min(self._own, self._theirs)
        signal.setitimer(signal.ITIMER_REAL, _until(following) if math.isfinite(following) else 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self._own:
            self._own = math.inf
            self._set_timer()
            raise TimeLimitError(self._message)
        if time.monotonic() >= self._theirs and callable(self._handler):
            self._theirs = time.monotonic() + self._interval if self._interval else math.inf
            self._set_timer()
            self._handler(number, frame)
            return
        self._set_timer()

    def switch_off(self) -> None:
        self._own = math.inf

    def restore(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        if math.isfinite(self._theirs):
            signal.setitimer(signal.ITIMER_REAL, _until(self._theirs), self._interval)


def _until(moment: float) -> float:
    return max(moment - time.monotonic(), _SOON_S)


_ends: list[float] = []
_ends_lock = threading.Lock()


@contextlib.contextmanager
def _force_exit(end: float) -> Iterator[None]:
    """End the process at `end` (time.monotonic seconds), by a thread of C that needs no lock of Python's.

    There is one such thread in a process: the earliest end of the blocks that are open counts.
    """
    with _ends_lock:
        _ends.append(end)
        _watch()
    try:
        yield
    finally:
        with _ends_lock:
            _ends.remove(end)
            _watch()


def _watch() -> None:
    if math.isfinite(min(_ends, default=math.inf)):
        faulthandler.dump_traceback_later(_until(min(_ends)), exit=True, file=_STANDARD_ERROR)
    else:
        faulthandler.cancel_dump_traceback_later()
