import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from wine_assets.compute.signals import raise_keyboard_interrupt

STOPPING = [signal.SIGINT, signal.SIGTERM]


class Stopped(BaseException):
    """What the handler of a framework raises, as Dagster's does."""


def stop(*_: object) -> NoReturn:
    raise Stopped


@contextlib.contextmanager
def noted(seen: list[type[BaseException]]) -> Iterator[None]:
    """Take note of an exception that passes."""
    try:
        yield
    except BaseException as error:
        seen.append(type(error))
        raise


@pytest.fixture(autouse=True)
def _framework() -> Iterator[None]:
    before = {number: signal.signal(number, stop) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_library_sees_a_keyboard_interrupt_and_who_called_it_what_the_handler_raises(number: int) -> None:
    seen: list[type[BaseException]] = []
    with pytest.raises(Stopped), raise_keyboard_interrupt(), noted(seen):
        signal.raise_signal(number)
    assert seen == [KeyboardInterrupt]
    assert [signal.getsignal(number) for number in STOPPING] == [stop, stop]


def test_a_handler_that_a_library_puts_in_place_can_be_replaced() -> None:
    def replaced() -> None:
        with raise_keyboard_interrupt() as again:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
            again()
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped):
        replaced()


def test_a_keyboard_interrupt_that_no_signal_raised_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt), raise_keyboard_interrupt():
        raise KeyboardInterrupt


def test_a_signal_that_ends_the_process_still_does() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with raise_keyboard_interrupt():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_has_no_signals() -> None:
    found: list[object] = []

    def look() -> None:
        with raise_keyboard_interrupt() as again:
            again()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [stop]
