"""A server that speaks both ways, and clients of others as processes, as each brings its own copy of the messages."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wine_assets_tests.support.serving.models import promote, published
from wine_assets_tests.support.serving.server_process import Running, running

HERE = Path(__file__).parent
ASK_S = 120


@contextlib.contextmanager
def speaking_both_ways(
    folder: Path, version: int, *flags: str, within: Sequence[str] = (), **environment: str
) -> Iterator[tuple[Running, str]]:
    """Yield a server of a version, and the address of its gRPC side."""
    port = _free_port()
    promote(published(folder / "wine"), version)
    with running(
        folder / "wine", folder / "log", "--grpc-port", str(port), *flags, within=within, **environment
    ) as server:
        server.wait_for_version(version)
        yield server, f"127.0.0.1:{port}"


@contextlib.contextmanager
def speaking_of_nothing(folder: Path, *flags: str) -> Iterator[tuple[Running, str]]:
    """Yield a server that has no model, and the address of its gRPC side."""
    port = _free_port()
    with running(folder / "wine", folder / "log", "--grpc-port", str(port), *flags) as server:
        yield server, f"127.0.0.1:{port}"


def started(script: str, *arguments: str, python: Path = Path(sys.executable)) -> "subprocess.Popen[str]":
    """Start a script of this folder, with pipes to it."""
    command: list[str | Path] = [python, HERE / f"{script}.py", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def tell(client: "subprocess.Popen[str]", given: Any) -> None:
    """Send a line to a script that was started."""
    assert client.stdin is not None
    client.stdin.write(json.dumps(given) + "\n")
    client.stdin.flush()


def said(client: "subprocess.Popen[str]") -> Any:
    """Wait for the next line that such a script prints, and return what it says."""
    assert client.stdout is not None
    return json.loads(client.stdout.readline())


def found(script: str, *arguments: str, given: Any = None, python: Path = Path(sys.executable)) -> Any:
    """Return what a script of this folder prints as JSON, given something as JSON."""
    with started(script, *arguments, python=python) as process:
        out, errors = process.communicate(json.dumps(given), timeout=ASK_S)
    assert process.returncode == 0, errors
    return json.loads(out)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
