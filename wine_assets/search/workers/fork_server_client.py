"""ForkServer processes: how one is started, and one that begins to load before it is known what for.

A search from the command line spends a second or two on imports of its own. On another core a template loads in that
time, so that workers are there when the first trials show that they pay.
"""

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import NamedTuple

MODULE = "wine_assets.search.workers.fork_server"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ForkServer(NamedTuple):
    """A template process, and the connection on which it is told what to do; it ends when that is closed."""

    process: "subprocess.Popen[bytes]"
    control: Connection


_spare: list[ForkServer] = []


def start() -> ForkServer:
    """Start a template, and return while it loads."""
    ours, theirs = socket.socketpair()
    with theirs:
        os.set_inheritable(theirs.fileno(), True)
        command = [sys.executable, "-m", MODULE, str(theirs.fileno())]
        process = subprocess.Popen(  # noqa: S603 - this interpreter, one of our modules
            command, env=os.environ | _ONE_THREAD, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
    return ForkServer(process, Connection(ours.detach()))


def preload() -> None:
    """Start the template that the next search in this process takes, where there is a core for it."""
    if not _spare and len(os.sched_getaffinity(0)) > 1:
        _spare.append(start())


def is_preloaded() -> bool:
    """Whether there is a template that has begun to load, and that nobody has taken."""
    return bool(_spare)


def take() -> ForkServer:
    """Return the one that was preloaded, or a new one."""
    return _spare.pop() if _spare else start()


def discard() -> None:
    """End the one that nobody has taken."""
    while _spare:
        template = _spare.pop()
        template.control.close()
        template.process.kill()
        template.process.wait()
