"""A process that ends everything a test session started, once the session has ended in whichever way.

`wine_assets_tests/conftest.py` starts it for every session, so no fixture has to. Each process of the session, however
it was started, inherits the variable `TEST_SESSION`. When pytest ends, by itself, by Ctrl-C or by SIGKILL, the watchdog
sends SIGTERM to all processes with this variable and to their descendants, and a little later SIGKILL. Servers that
move to a session of their own, such as PostgreSQL, Ray and `dagster dev`, are found too. Fixtures still stop what they
start: the watchdog is for sessions that can't.

Temporary folders that tests make outside pytest's own (`scratch_folder`) are removed as well.
"""

import os
import select
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

VARIABLE = "TEST_SESSION"
_GRACE_S = 3.0
_PROCESSES = Path("/proc")


def start() -> None:
    """Start the watchdog of this process, and mark all processes that this one starts from now on."""
    inherited = {name: value for name, value in os.environ.items() if name != VARIABLE}
    session = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), session]
    null = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in range(3)]
    os.posix_spawn(sys.executable, command, inherited, file_actions=null, setsid=True)
    os.environ[VARIABLE] = session


def scratch_folder(name: str) -> Path:
    """Return a new folder, readable by other users, that is gone when the session has ended."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=_suffix(os.environ[VARIABLE])))


def main(pid: int, session: str) -> None:
    """Wait until a process has ended, and end what is left of its session."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])
    _end(session, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while any(_members(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    while any(_members(session)):
        _end(session, signal.SIGKILL)
        time.sleep(0.05)
    for folder in Path(tempfile.gettempdir()).glob(f"*{_suffix(session)}"):
        shutil.rmtree(folder, ignore_errors=True)


def _suffix(session: str) -> str:
    return f"-{session[:12]}"


def _end(session: str, number: signal.Signals) -> None:
    for pid in [*_members(session)]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _members(session: str) -> Iterator[int]:
    """Yield the processes of a session, those that lost the variable included if a parent of theirs has it."""
    mark = f"{VARIABLE}={session}".encode()
    parents = {int(path.name): parent for path in _PROCESSES.glob("[0-9]*") if (parent := _parent(path)) is not None}
    marked = {pid for pid in parents if mark in _environment(pid)}
    for pid in parents:
        ancestor = pid
        while ancestor not in marked and ancestor in parents:
            ancestor = parents[ancestor]
        if ancestor in marked:
            yield pid


def _parent(process: Path) -> int | None:
    """Return the parent of a process, and None if it has ended."""
    try:
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROCESSES / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
