"""Waiting for what other processes do, and for their end."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import psutil

PATIENCE_S = 240.0
"""How long anything may take on a machine that has too much to do, in seconds: only a hang reaches it."""
T = TypeVar("T")


def eventually(look: Callable[[], T]) -> T:
    """Return what `look` returns, once that is true."""
    until = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < until, f"{look} never came true"
        time.sleep(0.01)
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def all_gone(pids: Iterable[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def descendants(pid: int | None = None) -> list[int]:
    """Return the processes that came of one, this one by default."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
