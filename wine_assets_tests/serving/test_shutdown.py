"""The end of a server that is told to stop."""

import os
import signal
import socket
from pathlib import Path

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote, request, rows
from wine_assets_tests.support.serving.raw_http import read_until_closed
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server

IN_FLIGHT, SOAK_IN_FLIGHT = 50, 200


def _stop_with_requests_in_flight(repository: ModelRepository, log: Path, count: int) -> None:
    import json

    promote(repository, 1)
    body = json.dumps(request(rows())).encode()
    start = b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with run_server(repository.folder, log, "--drain-s", "1", "--finish-s", "20") as server:
        server.wait_for_version(1)
        connections = [server.connect() for _ in range(count)]
        for connection in connections:
            connection.sendall(start + body[:100])
        server.wait_for(lambda: _arrived(server, count))
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: server.get("/v2/health/ready").status == 503)
        answers = []
        for connection in connections:
            connection.sendall(body[100:])
            answers.append(read_until_closed(connection))
            connection.close()
        assert [answer.statuses for answer in answers] == [[200]] * count
        assert all(b"connection: close" in answer.content for answer in answers)
        assert server.process.wait(30) == 0


def _arrived(server: ServerProcess, count: int) -> bool:
    """Return whether the server has accepted all connections; the one that asks isn't counted."""
    import psutil

    connections = psutil.Process(server.process.pid).net_connections("tcp")
    return sum(connection.status == "ESTABLISHED" for connection in connections) >= count


def test_requests_that_have_begun_are_answered(repository: ModelRepository, log: Path) -> None:
    _stop_with_requests_in_flight(repository, log, IN_FLIGHT)


@pytest.mark.soak
@pytest.mark.skipif("SOAK" not in os.environ, reason="the long form; `make soak` runs it")
def test_two_hundred_requests_that_have_begun_are_answered(repository: ModelRepository, log: Path) -> None:
    _stop_with_requests_in_flight(repository, log, SOAK_IN_FLIGHT)


def test_request_that_began_before_shutdown(repository: ModelRepository, log: Path) -> None:
    """A request that began before the listener closed is answered.

    Without any time to drain, a body that has begun to arrive is still waited for.
    """
    promote(repository, 1)
    with run_server(repository.folder, log, "--finish-s", "20") as server:
        server.wait_for_version(1)
        with server.connect() as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
            server.wait_for(lambda: _arrived(server, 1))
            assert server.get("/v2/health/live").status == 200  # so that the bytes before it were read
            server.process.send_signal(signal.SIGTERM)
            server.wait_for(lambda: not _listens(server))
            connection.sendall(b"}")
            assert read_until_closed(connection).statuses == [400]
        assert server.process.wait(30) == 0


def _listens(server: ServerProcess) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_status_0(number: signal.Signals, own: ServerProcess) -> None:
    own.process.send_signal(number)
    assert own.process.wait(30) == 0
    assert own.log()[-1]["message"] == "Stopped."


def test_incomplete_request_does_not_delay_shutdown(repository: ModelRepository, log: Path) -> None:
    """A client that never completes its request does not keep the server from stopping."""
    promote(repository, 1)
    with run_server(repository.folder, log, "--finish-s", "0.2") as server, server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
        server.wait_for(lambda: _arrived(server, 1))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


def test_a_server_that_is_killed_leaves_the_port_to_the_next(repository: ModelRepository, log: Path) -> None:
    promote(repository, 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for _ in range(2):
        with run_server(repository.folder, log, "--port", port) as server:
            server.wait_for_version(1)
            with server.connect():
                server.process.kill()
                server.process.wait(30)
