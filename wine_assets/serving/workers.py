"""Supervision of several serving processes that share one listening socket."""

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
from wine_assets.serving.settings import SHARED_METRICS_VARIABLE, SOCKET_VARIABLE, ServeSettings

_POLL_S = 0.1
_GRACE_S = 2.0
_BAD_USAGE = 2
"""The exit status of a worker with invalid settings; another worker would have the same."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
_METRICS_PREFIX = "wine-serve-"
_MIN_PAUSE_S, _MAX_PAUSE_S, _STABLE_S = 0.1, 10.0, 30.0


class Workers:
    """Starts workers on one listening socket, replaces workers that die, and forwards the signal to stop."""

    def __init__(self, settings: ServeSettings, arguments: Sequence[str], bound: socket.socket) -> None:
        self._settings, self._arguments, self._bound = settings, list(arguments), bound
        self._folder, self._folder_lock = _make_metrics_folder()
        self._workers: dict[subprocess.Popen[bytes], float] = {}
        self._pause_s = _MIN_PAUSE_S
        self._stopping = threading.Event()

    def run(self) -> int:
        """Supervise the workers until SIGTERM or SIGINT; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        signal.set_wakeup_fd(-1)  # the command line would take the signal for an interruption
        try:
            while not self._stopping.wait(_POLL_S):
                if self._collect_dead() == _BAD_USAGE:
                    self._stop()
                    return _BAD_USAGE
                while len(self._workers) < self._settings.workers:
                    self._start()
            return self._stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._folder_lock)

    def _start(self) -> None:
        descriptor = self._bound.fileno()
        shared = {SOCKET_VARIABLE: str(descriptor), SHARED_METRICS_VARIABLE: self._folder}
        command = [sys.executable, "-m", "wine_assets.serving", *self._arguments]
        worker = subprocess.Popen(  # noqa: S603 - this program
            command, pass_fds=[descriptor], env=os.environ | shared, process_group=0
        )  # a process group of its own: Ctrl-C reaches it through this process alone
        self._workers[worker] = time.monotonic()

    def _collect_dead(self) -> int:
        """Remove dead workers; return the status of one that ended because of its settings, or 0."""
        from prometheus_client.multiprocess import mark_process_dead

        for worker, start in list(self._workers.items()):
            if worker.poll() is None:
                continue
            del self._workers[worker]
            mark_process_dead(worker.pid, path=self._folder)  # type: ignore[no-untyped-call]  # it has no types
            if worker.returncode == _BAD_USAGE:
                return _BAD_USAGE
            lifetime_s = time.monotonic() - start
            self._pause_s = _MIN_PAUSE_S if lifetime_s > _STABLE_S else min(2 * self._pause_s, _MAX_PAUSE_S)
            log(logging.ERROR, "A worker died.", pid=worker.pid, status=worker.returncode, next_s=self._pause_s)
            self._stopping.wait(self._pause_s)
        return 0

    def _stop(self) -> int:
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        self._bound.close()  # connections after the last worker has closed it are refused
        end = time.monotonic() + self._settings.drain_s + self._settings.finish_s + _GRACE_S
        for worker in self._workers:
            try:
                worker.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        return 0 if all(worker.returncode == 0 for worker in self._workers) else 1


def _make_metrics_folder() -> tuple[str, int]:
    """Create a folder for the workers' memory-mapped files, in memory if possible; return it and its lock.

    On a full disk, a write to a mapped file kills the process, and any disk may block it. The folders of servers that
    were killed are removed: no process holds their locks.
    """
    in_memory = os.access(_MEMORY, os.W_OK | os.X_OK)
    place = _MEMORY if in_memory else Path(tempfile.gettempdir())
    for abandoned in place.glob(f"{_METRICS_PREFIX}*"):
        with contextlib.suppress(OSError):  # it belongs to another user, or its server runs
            os.close(_lock(abandoned))
            shutil.rmtree(abandoned, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=_METRICS_PREFIX, dir=place)
    return folder, _lock(Path(folder))


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
