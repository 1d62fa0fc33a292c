"""A process that has loaded all that trials need, and that workers are forked from.

    python -m wine_assets.search.workers.fork_server DESCRIPTOR

The descriptor is a connection on which it is given a TrialContext, and then told to fork workers and to kill them. It
has a single thread, so that it can be forked. When its parent is gone so is it, and its workers with it.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from typing import Any

FORK, KILL = "fork", "kill"
READY, STARTED, ENDED = "ready", "started", "ended"
_PR_SET_PDEATHSIG = 1  # man 2 prctl


def main(descriptor: int) -> None:
    """Load what trials need, say so, and do as told until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal goes to all; the parent decides
    control = Connection(descriptor)
    gc.disable()  # imports make few objects that can go, and one in ten of their seconds is spent on looking for those
    try:
        _load()
        context = control.recv()
        objective = context.objective()
        context.warm()
        gc.enable()
        control.send((READY, 0, 0))
        _serve(control, objective, context)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _load() -> None:
    """Import what any search needs, before it is known which one it is."""
    import pandas as pd  # noqa: F401
    import sklearn.linear_model
    import sklearn.metrics
    import sklearn.model_selection  # noqa: F401

    from wine_assets.search import trial_context  # noqa: F401


def _serve(control: Connection, objective: Any, context: Any) -> None:
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing is written to the pipe
    signal.set_wakeup_fd(wake)
    children: set[int] = set()
    while True:
        for ready in wait([control, woken]):
            if ready is control:
                _obey(control, children, objective, context)
            else:
                os.read(woken, 1 << 12)
        _reap(control, children)


def _obey(control: Connection, children: set[int], objective: Any, context: Any) -> None:
    order, pid = control.recv()
    if order == KILL:
        if pid in children:
            os.kill(pid, signal.SIGKILL)
        return
    handle = recv_handle(control)
    child = os.fork()
    if child == 0:
        end_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        _work(Connection(handle), objective, context)
        os._exit(0)
    os.close(handle)
    children.add(child)
    control.send((STARTED, child, 0))


def _reap(control: Connection, children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        control.send((ENDED, pid, os.waitstatus_to_exitcode(status)))


def _work(connection: Connection, objective: Any, context: Any) -> None:
    """Run the trials that come, until nobody sends any more."""
    from wine_assets.compute import threads
    from wine_assets.search.trial_context import run

    try:
        with threads.limit_threads(context.threads) if context.threads > 1 else contextlib.nullcontext():
            while True:
                connection.send(run(connection.recv(), objective, context.memory_mib))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def end_with_parent(with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Have the system send this process a signal when its parent is gone, where it can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, with_signal)


if __name__ == "__main__":
    main(int(sys.argv[1]))
