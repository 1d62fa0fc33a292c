"""A guard that fails a test which starts a process but isn't marked `process`, because `make quick` would run it."""

import multiprocessing.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVENTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})
"""The audit events of a process that is started."""


class _Guard:
    """Refuses processes while `is_closed`; a hook of Python's can't be removed, so that there is one for good."""

    is_closed = False
    is_installed = False

    @classmethod
    def install(cls) -> None:
        if not cls.is_installed:
            sys.addaudithook(cls.refuse)
            original = multiprocessing.util.spawnv_passfds  # raises no audit event

            def spawnv_passfds(*arguments: Any) -> int:
                cls.refuse("subprocess.Popen", arguments)
                return original(*arguments)

            multiprocessing.util.spawnv_passfds = spawnv_passfds  # type: ignore[assignment]  # same arguments, unnamed
            cls.is_installed = True

    @classmethod
    def refuse(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls.is_closed and event in EVENTS and threading.current_thread() is threading.main_thread():
            raise AssertionError(f"This test starts a process ({event}, {arguments[:2]}): mark it `process`.")


@contextmanager
def no_process() -> Iterator[None]:
    """Fail whatever starts a process from the main thread."""
    _Guard.install()
    _Guard.is_closed = True
    try:
        yield
    finally:
        _Guard.is_closed = False
