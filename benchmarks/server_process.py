"""A server that is measured: a process of its own on a free port of this machine."""

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import measure

START_S = 120
STOP_S = 20
_EVERY_S = 0.1
_USER, _SYSTEM = 11, 12
"""Where a process's CPU ticks stand after its name in /proc/PID/stat."""


@dataclass(frozen=True)
class ServerProcess:
    """A server that answers."""

    pid: int
    port: int
    grpc_port: int = 0

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def cpu_seconds(self) -> float:
        """Return the seconds of CPU that the process has taken, without its children."""
        after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[_USER]) + int(after_name[_SYSTEM])) / os.sysconf("SC_CLK_TCK")

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Send one request, and return the body of the answer; fail unless its status is 200."""
        status, answer = _ask(self.port, "POST", path, body, headers)
        if status != http.client.OK:
            raise SystemExit(f"the server of {path} answered {status}: {answer[:500]!r}")
        return answer


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [bound.getsockname()[1] for bound in sockets]


@contextlib.contextmanager
def serving(argv: Sequence[str | Path], port: int, folder: Path, ready: str) -> Iterator[ServerProcess]:
    """Run a server in `folder` until the end of the block, which begins when the path `ready` answers 200."""
    with (folder / "log").open("wb") as log:
        environment = {**measure.one_thread(), "HOME": str(folder), "TMPDIR": str(folder)}
        child = subprocess.Popen(
            argv, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(child, port, ready, folder / "log")
        yield ServerProcess(child.pid, port)
    finally:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait(child: "subprocess.Popen[bytes]", port: int, ready: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and child.poll() is None:
        with contextlib.suppress(OSError):
            if _ask(port, "GET", ready, None, {})[0] == http.client.OK:
                return
        time.sleep(_EVERY_S)
    raise SystemExit(f"a server didn't start (status {child.poll()}):\n{log.read_text()[-4000:]}")


def _ask(port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
