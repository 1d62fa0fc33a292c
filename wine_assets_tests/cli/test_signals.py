import logging
import os
import signal
import sys
import time
import weakref
from collections.abc import Iterator

import pytest

from wine_assets.cli import signals

STOPPING = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def watch() -> Iterator[None]:
    with signals.watch():
        yield


def send(number: int) -> None:
    """Have this process get a signal, and give Python time to notice it."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.usefixtures("watch")
def test_either_signal_stops_what_is_being_done(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        send(number)
    assert signals.first() is number


@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.usefixtures("watch")
def test_a_signal_is_known_although_another_handler_takes_it(number: signal.Signals) -> None:
    """Dagster's handlers take both signals for the same, and may forget them."""
    before = signal.signal(number, lambda *_: None)
    send(number)
    signal.signal(number, before)
    assert signals.first() is number
    with pytest.raises(KeyboardInterrupt):
        signals.stop_if_asked()


@pytest.mark.usefixtures("watch")
def test_the_first_signal_counts() -> None:
    for number in STOPPING:
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert signals.first() is signal.SIGINT
    assert signals.first() is signal.SIGINT


@pytest.mark.usefixtures("watch")
def test_an_alarm_asks_nobody_to_stop() -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    send(signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)
    assert signals.first() is None
    signals.stop_if_asked()


def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    with signals.watch():
        pass
    assert [signal.getsignal(number) for number in STOPPING] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert signals.first() is None


def test_an_earlier_signal_is_forgotten() -> None:
    with pytest.raises(KeyboardInterrupt), signals.watch():
        send(signal.SIGINT)
    with signals.watch():
        assert signals.first() is None


class _Cask:
    pass


def _raise_where_nothing_is_caught() -> None:
    def spill(_: object) -> None:
        raise ValueError("spilt")

    cask = _Cask()
    reference = weakref.ref(cask, spill)
    del cask
    assert reference() is None


def test_an_interruption_where_none_can_be_caught_makes_no_noise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with signals.watch():
        _raise_where_nothing_is_caught()
        assert "spilt" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        _raise_where_nothing_is_caught()
    assert capsys.readouterr().err == ""


def test_what_a_library_logs_of_its_interruption_is_no_news() -> None:
    last_resort = logging.lastResort
    assert last_resort is not None
    record = logging.makeLogRecord({"msg": "Exception closing connection"})
    with signals.watch():
        assert last_resort.filter(record)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        assert not last_resort.filter(record)
    assert last_resort.filter(record)
