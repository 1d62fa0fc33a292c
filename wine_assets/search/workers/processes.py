"""Worker processes on this machine: each runs one trial at a time, and may hang, die or be killed.

They are forked from a template process that has loaded all that trials need, and that ends with its parent.
multiprocessing's forkserver does the same; but it makes the caller wait while it loads, has each worker import the
caller's main module, and can't be used within the workers of other schedulers, which are daemons.
"""

import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from typing import Self

from wine_assets.errors import FailedSearchError
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers import fork_server, fork_server_client

_STOP_S = 60.0
"""How long a process that was killed may take to go, on a machine that has too much to do."""


@dataclass
class _Worker:
    connection: Connection
    pid: int
    trial: Trial | None = None
    began: float = 0.0
    is_late: bool = False

    def ends(self, timeout_s: float) -> float:
        """Return when its trial has taken that long, with what it took before."""
        return self.began + timeout_s - (self.trial.spent_s if self.trial is not None else 0.0)


class Workers:
    """A number of workers; those that die are replaced, and what they died of is a result."""

    def __init__(self, context: TrialContext, count: int) -> None:
        self.count = count
        self._context = context
        self._workers: list[_Worker] = []
        self._exits: dict[int, int] = {}
        self._is_ready = False
        self._fork_server, self._control = fork_server_client.take()
        self._is_given = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self, seconds: float | None = 0.0) -> bool:
        """Return whether trials can be begun, after waiting for that for so long; None is for as long as it takes.

        Raise FailedSearchError when the workers can't be started.
        """
        self._give()
        if not self._is_ready and self._control.poll(seconds):
            self._heard()
        if self._is_ready and not self._workers:
            self._workers = [self._started() for _ in range(self.count)]
        return self._is_ready

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""
        return sum(worker.trial is None for worker in self._workers)

    @property
    def running(self) -> list[Trial]:
        """The trials that are being run."""
        return [worker.trial for worker in self._workers if worker.trial is not None]

    def begin(self, trial: Trial) -> None:
        """Have a worker that is free run a trial."""
        worker = next(worker for worker in self._workers if worker.trial is None)
        if worker.connection.poll():  # nothing comes from a worker that was asked for nothing, but its end
            worker = self._replaced(worker)[0]
        worker.trial, worker.began, worker.is_late = trial, time.monotonic(), False
        try:
            worker.connection.send(trial)
        except OSError:  # it died this very moment; `wait` sees that, and says so of this trial
            return

    def wait(self, seconds: float | None = None) -> list[TrialResult]:
        """Return what has come of trials, after waiting for the first for so long; None is for as long as it takes."""
        busy = {worker.connection: worker for worker in self._workers if worker.trial is not None}
        ready = wait([*busy, self._control], self._patience(busy.values(), seconds))
        if self._control in ready:
            self._heard()
        results = [self._received(busy[connection]) for connection in ready if connection in busy]
        self._stop_late(busy.values())
        return results

    def close(self) -> None:
        """End all workers at once, whatever they do."""
        self._control.close()
        self._fork_server.kill()  # its workers are killed with it
        self._fork_server.wait(_STOP_S)
        for worker in self._workers:
            worker.connection.close()
        self._workers = []

    def _give(self) -> None:
        if not self._is_given:
            self._is_given = True
            self._tell(self._context)

    def _tell(self, what: object) -> None:
        try:
            self._control.send(what)
        except OSError:
            self._fail()

    def _heard(self) -> tuple[str, int, int]:
        """Take note of what the template says."""
        try:
            said, pid, code = self._control.recv()
        except (EOFError, OSError):
            self._fail()
        if said == fork_server.READY:
            self._is_ready = True
        elif said == fork_server.ENDED:
            self._exits[pid] = code
        return said, pid, code

    def _fail(self) -> None:
        status = self._fork_server.wait(_STOP_S)
        raise FailedSearchError(
            f"The process that workers come from ended, {_of_exit(status)}. "
            "Look at what it wrote to standard error, and give it more memory if it was killed."
        )

    def _started(self) -> _Worker:
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        with theirs:
            self._tell((fork_server.FORK, 0))
            send_handle(self._control, theirs.fileno(), self._fork_server.pid)
        said, pid, _ = self._heard()
        while said != fork_server.STARTED:
            said, pid, _ = self._heard()
        return _Worker(connection, pid)

    def _patience(self, busy: Iterable[_Worker], seconds: float | None) -> float | None:
        timeout = self._context.timeout_s
        ends = [worker.ends(timeout) for worker in busy if not worker.is_late] if timeout else []
        until = max(min(ends) - time.monotonic(), 0.0) if ends else None
        given = [value for value in (until, seconds) if value is not None]
        return min(given) if given else None

    def _stop_late(self, busy: Iterable[_Worker]) -> None:
        timeout = self._context.timeout_s
        if timeout is None:
            return
        for worker in busy:
            if worker.trial is not None and not worker.is_late and time.monotonic() >= worker.ends(timeout):
                worker.is_late = True
                self._tell((fork_server.KILL, worker.pid))

    def _received(self, worker: _Worker) -> TrialResult:
        trial = worker.trial
        assert trial is not None  # noqa: S101 - only the busy ones are waited for
        try:
            result: TrialResult = worker.connection.recv()
        except (EOFError, OSError):
            return self._buried(worker, trial)
        if worker.is_late:  # it is being killed, and must not be given another trial
            return self._buried(worker, trial)
        worker.trial = None
        return result

    def _buried(self, worker: _Worker, trial: Trial) -> TrialResult:
        """Replace a worker that is gone; return that as the result of its trial."""
        seconds = time.monotonic() - worker.began
        _, code = self._replaced(worker)
        reason = f"Its process ended in the middle, {_of_exit(code)}."
        if worker.is_late:
            reason = f"It took longer than {self._context.timeout_s:g} s (`failures.timeout_s`)."
        return failed(trial, reason, seconds)

    def _replaced(self, worker: _Worker) -> tuple[_Worker, int]:
        """Return the worker that takes the place of one that is gone, and the exit code of that one."""
        worker.connection.close()
        while worker.pid not in self._exits:
            self._heard()
        code = self._exits.pop(worker.pid)
        started = self._workers[self._workers.index(worker)] = self._started()
        return started, code


def _of_exit(code: int) -> str:
    if code >= 0:
        return f"with status {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + (", as the system does when memory runs out" if code == -signal.SIGKILL else "")
