"""Signals that ask to stop, for libraries that know no other exception of a signal than KeyboardInterrupt."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to stop: Ctrl-C's, and that of `kill`, `timeout` and container engines."""


@contextlib.contextmanager
def restore_handlers() -> Iterator[dict[signal.Signals, Any]]:
    """Have both signals handled after the block as before it; yield the handlers of before."""
    known = {number: signal.getsignal(number) for number in STOPPING}
    before = {number: handler for number, handler in known.items() if handler is not None}  # None: not Python's
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def raise_keyboard_interrupt() -> Iterator[Callable[[], None]]:
    """Have signals leave the block as KeyboardInterrupt, and then be handled as they would have been without it.

    Yield what has them do so again, where a library has put a handler of its own in place.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[signal.Signals] = []

    def stop(number: int, _: Any) -> NoReturn:
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    def install() -> None:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, stop)

    with restore_handlers() as handlers:
        try:
            install()
            yield install
        except KeyboardInterrupt:
            for number in came[:1]:
                handlers[number](number, None)
            raise
