import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path

import pytest

from wine_assets.search.workers import fork_server
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import pids, trial
from wine_assets_tests.support.processes import PATIENCE_S, eventually, is_running

pytestmark = pytest.mark.process


@dataclass
class ForkServer:
    """A template process, and the connection on which it is told what to do."""

    process: "subprocess.Popen[bytes]"
    control: Connection

    def heard(self) -> tuple[str, int, int]:
        assert self.control.poll(PATIENCE_S)
        said: tuple[str, int, int] = self.control.recv()
        return said

    def forked(self) -> tuple[int, Connection]:
        """Return a worker's process, and the connection on which it takes trials."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.control.send((fork_server.FORK, 0))
            send_handle(self.control, theirs.fileno(), self.process.pid)
        said, pid, _ = self.heard()
        assert said == fork_server.STARTED
        return pid, Connection(ours.detach())


@pytest.fixture(scope="module")
def shared() -> Iterator[ForkServer]:
    """A template that has loaded what trials need; it ends when nobody is there to tell it anything."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", fork_server.__name__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    started = ForkServer(process, Connection(ours.detach()))
    started.control.send(fake_family.trial_context())
    assert started.heard() == (fork_server.READY, 0, 0)
    yield started
    started.control.close()
    assert process.wait(PATIENCE_S) == 0


def test_a_worker_runs_the_trials_that_come_until_nobody_sends_any(shared: ForkServer) -> None:
    pid, connection = shared.forked()
    for number in range(3):
        connection.send(trial(number))
        assert connection.recv().number == number
    connection.close()
    assert shared.heard() == (fork_server.ENDED, pid, 0)


def test_a_worker_whose_listener_is_gone_ends_by_itself(shared: ForkServer, trace: Path) -> None:
    pid, connection = shared.forked()
    connection.send(trial(0, "wait", trace=str(trace)))
    eventually(lambda: pids(trace))
    connection.close()
    assert shared.heard() == (fork_server.ENDED, pid, 0)


def test_the_end_of_each_worker_is_told_with_its_status(shared: ForkServer) -> None:
    (killed, one), (gone, other) = shared.forked(), shared.forked()
    other.send(trial(0, "exit"))
    assert shared.heard() == (fork_server.ENDED, gone, 7)
    shared.control.send((fork_server.KILL, killed))
    assert shared.heard() == (fork_server.ENDED, killed, -signal.SIGKILL)
    one.close()
    other.close()


def test_no_process_but_its_own_is_killed(shared: ForkServer) -> None:
    """A worker may have ended, and its number be another process's, when the order to kill it comes."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        shared.control.send((fork_server.KILL, stranger.pid))
        pid, connection = shared.forked()
        assert is_running(stranger.pid)
        stranger.communicate(b"\n")
    connection.close()
    assert shared.heard() == (fork_server.ENDED, pid, 0)


def test_a_parent_that_is_gone_before_anything_was_said_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    with theirs, ours:
        command = [sys.executable, "-m", fork_server.__name__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (0, b"")
