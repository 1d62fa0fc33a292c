"""Servers of HTTP and gRPC, and third-party clients in processes of their own, as each has its own messages."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wine_assets_tests.support.serving.models import promote, publish_models
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server

HERE = Path(__file__).parent
CLIENT_S = 120


@contextlib.contextmanager
def serve_http_and_grpc(
    folder: Path, version: int, *flags: str, within: Sequence[str] = (), **environment: str
) -> Iterator[tuple[ServerProcess, str]]:
    """Yield a server of a version, and the address of its gRPC port."""
    port = _free_port()
    promote(publish_models(folder / "wine"), version)
    with run_server(
        folder / "wine", folder / "log", "--grpc-port", str(port), *flags, within=within, **environment
    ) as server:
        server.wait_for_version(version)
        yield server, f"127.0.0.1:{port}"


@contextlib.contextmanager
def serve_without_model(folder: Path, *flags: str) -> Iterator[tuple[ServerProcess, str]]:
    """Yield a server without a model, and the address of its gRPC port."""
    port = _free_port()
    with run_server(folder / "wine", folder / "log", "--grpc-port", str(port), *flags) as server:
        yield server, f"127.0.0.1:{port}"


def start_client(script: str, *arguments: str, python: Path = Path(sys.executable)) -> "subprocess.Popen[str]":
    """Start a client script of this folder, with pipes to it."""
    command: list[str | Path] = [python, HERE / f"{script}.py", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def send_line(client: "subprocess.Popen[str]", data: Any) -> None:
    """Send data as a line of JSON to a running client."""
    assert client.stdin is not None
    client.stdin.write(json.dumps(data) + "\n")
    client.stdin.flush()


def read_line(client: "subprocess.Popen[str]") -> Any:
    """Return the data in the next line that a client prints."""
    assert client.stdout is not None
    return json.loads(client.stdout.readline())


def run_client(script: str, *arguments: str, data: Any = None, python: Path = Path(sys.executable)) -> Any:
    """Run a client script with data as JSON, and return the data that it prints."""
    with start_client(script, *arguments, python=python) as process:
        out, errors = process.communicate(json.dumps(data), timeout=CLIENT_S)
    assert process.returncode == 0, errors
    return json.loads(out)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
