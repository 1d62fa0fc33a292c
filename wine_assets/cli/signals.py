"""Requests to stop: which signal, Ctrl-C's (SIGINT) or SIGTERM, came since the command line began.

Dagster puts handlers of its own in place while a run works. It treats both signals alike and forgets which one came,
so that they are read where Python's signal machinery reports them to, whatever handler is in place.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from wine_assets.compute.signals import STOPPING, restore_handlers

STATUS_OF_A_SIGNAL = 128
"""What a shell adds to a signal's number in the exit status of a program that the signal ended."""
_READ_BYTES = 4096


class _Watch:
    """The end of the pipe that the numbers of signals are read from, and the first of them that asks to stop."""

    reader: int | None = None
    first: signal.Signals | None = None


@contextlib.contextmanager
def watch() -> Iterator[None]:
    """Let both signals raise KeyboardInterrupt in the block, and remember the first that came."""
    _Watch.first = None
    _Watch.reader, writer = os.pipe()
    for end in (_Watch.reader, writer):
        os.set_blocking(end, False)
    descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        with restore_handlers(), _without_echoes():
            for number in STOPPING:
                signal.signal(number, signal.default_int_handler)
            yield
    finally:
        signal.set_wakeup_fd(descriptor)
        os.close(writer)
        os.close(_Watch.reader)
        _Watch.reader = None


def first() -> signal.Signals | None:
    """Return the first signal that asked to stop, or None; outside of `watch`, what the last block ended with."""
    if _Watch.first is None and _Watch.reader is not None:
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(_Watch.reader, _READ_BYTES)
            _Watch.first = next((signal.Signals(number) for number in numbers if number in STOPPING), None)
    return _Watch.first


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt when one of the signals came, where a handler of Dagster's took it for a failure."""
    if first():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _without_echoes() -> Iterator[None]:
    """Keep quiet about an exception that a signal raised where none is caught, as in a weak reference's callback."""
    show, last_resort = sys.unraisablehook, logging.lastResort

    def show_unless_stopped(unraisable: Any) -> None:
        if not first():
            show(unraisable)

    def unless_stopped(_: logging.LogRecord) -> bool:
        return not first()

    sys.unraisablehook = show_unless_stopped
    if last_resort is not None:
        last_resort.addFilter(unless_stopped)
    try:
        yield
    finally:
        sys.unraisablehook = show
        if last_resort is not None:
            last_resort.removeFilter(unless_stopped)
