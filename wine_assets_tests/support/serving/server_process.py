"""A server as a process of its own, and a client that speaks to it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

START_S = 60
STOP_S = 30


class Reply(NamedTuple):
    """A response: its status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Client:
    """A client with one persistent connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)

    def get(self, path: str, **headers: str) -> Reply:
        """Ask for a path."""
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """Send bytes as they are, or anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, content, **headers)

    def ask(self, method: str, path: str, body: bytes | None, **headers: str) -> Reply:
        """Send a request; an underscore in a header's name stands for a dash."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, fields)
        response = self._connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class ServerProcess:
    """A serving process."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log
        self.port = 0

    @property
    def address(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Connect."""
        client = Client(self.port)
        try:
            yield client
        finally:
            client.close()

    def get(self, path: str, **headers: str) -> Reply:
        """Ask for a path on a connection of its own."""
        with self.client() as client:
            return client.get(path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """Send something to a path on a connection of its own."""
        with self.client() as client:
            return client.post(path, body, **headers)

    def connect(self, timeout: float = START_S) -> socket.socket:
        """Return a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.get("/metrics").body.decode(), re.MULTILINE)
        return sum(map(float, lines))

    def log(self) -> list[dict[str, Any]]:
        """Return what the server logged; every line is a JSON object."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def version(self) -> str | None:
        """Return the version that is served, None while there is none."""
        reply = self.get("/v2/models/wine")
        return str(reply.json["versions"][0]) if reply.status == 200 else None

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        wait_until(condition, lambda: f"the server said: {self._log.read_text()}")

    def wait_for_version(self, version: int) -> None:
        """Wait until a version is served."""
        self.wait_for(lambda: self.version() == str(version))

    def stop(self) -> int:
        """Ask the process to end, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def wait_until(condition: Callable[[], bool], explain: Callable[[], str] = str, seconds: float = START_S) -> None:
    """Poll a condition until it holds; fail after a long time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"It did not come to be in {seconds} s: {explain()}")
        time.sleep(0.01)


@contextlib.contextmanager
def run_server(
    folder: Path, log: Path, *flags: str, within: Sequence[str] = (), **environment: str
) -> Iterator[ServerProcess]:
    """Start a server for a model folder on a free port, by a command that becomes it if need be; stop it afterwards."""
    command = [*within, sys.executable, "-m", "wine_assets.serving", "--model", str(folder), "--port", "0"]
    options = ["--grpc-port", "0", "--drain-s", "0", "--poll-s", "0.02", *flags]
    with log.open("wb") as errors:
        process = subprocess.Popen([*command, *options], stderr=errors, env=os.environ | environment)
    server = ServerProcess(process, log)
    try:
        wait_until(lambda: _listens(server, log), log.read_text)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(server: ServerProcess, log: Path) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"The server ended with {server.process.returncode}: {log.read_text()}")
    match = re.search(r'"address":"http://127\.0\.0\.1:(\d+)"', log.read_text())
    if match:
        server.port = int(match[1])
    return bool(match)
