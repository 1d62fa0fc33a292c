"""Several serving processes on one port, and the one that looks after them."""

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from wine_assets.serving.observability.logs import log
from wine_assets.serving.settings import SHARED_FIGURES_VARIABLE, SOCKET_VARIABLE, ServeSettings

_POLL_S = 0.1
_GRACE_S = 2.0
_BAD_USAGE = 2
"""The status of a worker whose settings can't be: another would end in the same way."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a random name and this user's alone is made in it
_FIGURES = "wine-serve-"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONG_LIFE_S = 0.1, 10.0, 30.0


class Workers:
    """Starts workers on one listening socket, replaces those that die, and passes on the signal to stop."""

    def __init__(self, settings: ServeSettings, arguments: Sequence[str], bound: socket.socket) -> None:
        self._settings, self._arguments, self._bound = settings, list(arguments), bound
        self._folder, self._claim = _folder_for_figures()
        self._alive: dict[subprocess.Popen[bytes], float] = {}
        self._pause_s = _FIRST_PAUSE_S
        self._stopping = threading.Event()

    def run(self) -> int:
        """Look after the workers until SIGTERM or SIGINT; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        signal.set_wakeup_fd(-1)  # whoever reads there would take this end, with status 0, for an interruption
        try:
            while not self._stopping.wait(_POLL_S):
                if self._replace_the_dead() == _BAD_USAGE:
                    self._stop()
                    return _BAD_USAGE
                while len(self._alive) < self._settings.workers:
                    self._start()
            return self._stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._claim)

    def _start(self) -> None:
        descriptor = self._bound.fileno()
        shared = {SOCKET_VARIABLE: str(descriptor), SHARED_FIGURES_VARIABLE: self._folder}
        command = [sys.executable, "-m", "wine_assets.serving", *self._arguments]
        worker = subprocess.Popen(  # noqa: S603 - this program
            command, pass_fds=[descriptor], env=os.environ | shared, process_group=0
        )  # in groups of their own, so that Ctrl-C reaches them once
        self._alive[worker] = time.monotonic()

    def _replace_the_dead(self) -> int:
        """Make room for new workers; return the status of one that ended because of its settings, or 0."""
        for worker, began in list(self._alive.items()):
            if worker.poll() is None:
                continue
            del self._alive[worker]
            self._forget(worker.pid)
            if worker.returncode == _BAD_USAGE:
                return _BAD_USAGE
            lived = time.monotonic() - began
            self._pause_s = _FIRST_PAUSE_S if lived > _LONG_LIFE_S else min(2 * self._pause_s, _LONGEST_PAUSE_S)
            log(logging.ERROR, "A worker died.", pid=worker.pid, status=worker.returncode, next_s=self._pause_s)
            self._stopping.wait(self._pause_s)
        return 0

    def _forget(self, pid: int) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, path=self._folder)  # type: ignore[no-untyped-call]

    def _stop(self) -> int:
        for worker in self._alive:
            worker.send_signal(signal.SIGTERM)
        self._bound.close()  # what connects after the last worker closed it is refused, and doesn't wait
        end = time.monotonic() + self._settings.drain_s + self._settings.finish_s + _GRACE_S
        for worker in self._alive:
            try:
                worker.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        return 0 if all(worker.returncode == 0 for worker in self._alive) else 1


def _folder_for_figures() -> tuple[str, int]:
    """Make a folder for the files that workers map, in memory where there is such a place; return it and its lock.

    A disk that is full kills those who write to a mapped file of it, and any disk may keep them waiting. The folders
    of servers that were killed are removed: nobody holds their locks.
    """
    in_memory = os.access(_MEMORY, os.W_OK | os.X_OK)
    place = _MEMORY if in_memory else Path(tempfile.gettempdir())
    for left in place.glob(f"{_FIGURES}*"):
        with contextlib.suppress(OSError):  # it is another user's, or its server lives
            os.close(_locked(left))
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=_FIGURES, dir=place)
    return folder, _locked(Path(folder))


def _locked(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
