"""Clients that send slowly, without end, or not at all."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote, publish_models, request, rows
from wine_assets_tests.support.serving.raw_http import read_until_closed
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server

LIMIT = 1 << 20
START = b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: localhost\r\n"
SHORT = ("--header-deadline-s", "0.3", "--body-deadline-s", "0.3", "--idle-s", "0.3", "--connections", "50")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with little patience."""
    folder: Path = tmp_path_factory.mktemp("strict")
    promote(publish_models(folder / "wine"), 1)
    with run_server(folder / "wine", folder / "log", *SHORT, "--body-limit-bytes", str(LIMIT)) as started:
        started.wait_for_version(1)
        yield started


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"", []),
        (b"POST /v2/mod", [408]),
        (START, [408]),
        (START + b"Content-Length: 500\r\n\r\n", [408]),
        (START + b"Content-Length: 500\r\n\r\n{", [408]),
        (START + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", [408]),
        (b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", [200]),
        (b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v2", [200]),
    ],
)
def test_a_client_that_sends_no_more_is_not_waited_for(sent: bytes, statuses: list[int], strict: ServerProcess) -> None:
    with strict.connect(20) as connection:
        connection.sendall(sent)
        answers = read_until_closed(connection)
    assert answers.is_closed
    assert answers.statuses == statuses


@pytest.mark.parametrize("beginning", [b"\r\n" * 3, START, START + b"Content-Length: 500\r\n\r\n"])
def test_trickling_client_is_timed_out(beginning: bytes, strict: ServerProcess) -> None:
    """A client that sends a byte now and then gets status 408."""
    with strict.connect(0.05) as connection:
        connection.sendall(beginning)
        status = b""
        for _ in range(1000):
            with contextlib.suppress(TimeoutError, ConnectionError):
                status += connection.recv(1000)
            if status:
                break
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"\r\n" if beginning.startswith(b"\r") else b"a")
        assert status.startswith(b"HTTP/1.1 408 ")


def test_announced_large_body_is_rejected(strict: ServerProcess) -> None:
    """A Content-Length above the limit is rejected before the body is sent."""
    with strict.connect(20) as connection:
        connection.sendall(START + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (LIMIT + 1))
        answers = read_until_closed(connection)
    assert answers.is_closed
    assert answers.statuses == [413]


def test_a_body_without_an_end_is_cut(strict: ServerProcess) -> None:
    """And is never in memory."""
    process = psutil.Process(strict.process.pid)
    before = process.memory_info().rss
    sent = _stream(strict, 100 << 20)
    assert sent < 100 << 20
    assert process.memory_info().rss - before < 32 << 20
    assert strict.get("/v2/health/ready").status == 200


def _stream(server: ServerProcess, most: int) -> int:
    """Send chunks until the server ends the connection; return how many bytes went out."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with server.connect(20) as connection:
        connection.sendall(START + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < most:
                connection.sendall(chunk)
                sent += len(chunk)
    return sent


def test_rejection_reaches_a_sending_client(strict: ServerProcess) -> None:
    """A client that still sends its body can read the rejection."""
    body = b" " * (4 * LIMIT)
    with strict.connect(20) as connection:
        connection.sendall(START + b"Transfer-Encoding: chunked\r\n\r\n")
        sender = threading.Thread(target=_send, args=(connection, b"%x\r\n" % len(body) + body))
        sender.start()
        answers = read_until_closed(connection)
        sender.join()
    assert answers.statuses == [413]


def _send(connection: socket.socket, content: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        connection.sendall(content)


def test_connection_limit(strict: ServerProcess) -> None:
    """Connections beyond the limit get status 503, and later ones are accepted again."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            held = stack.enter_context(strict.connect(20))
            held.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n")
        strict.wait_for(lambda: _status_of_one_more(strict) == [503])
    strict.wait_for(lambda: _status_of_one_more(strict) == [200])


def _status_of_one_more(server: ServerProcess) -> list[int]:
    with server.connect(20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return read_until_closed(connection).statuses


def test_a_client_that_reads_nothing_is_not_waited_for(strict: ServerProcess) -> None:
    """Its answers fill the sockets, and then nothing more is read from it."""
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with strict.connect(20) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender = threading.Thread(target=_send, args=(connection, ask * 100_000))
        sender.start()
        sender.join()  # which ends when the server has ended the connection: it can't be sent as a whole
    assert strict.get("/v2/health/ready").status == 200


def test_body_memory_rejects_large_bodies(repository: ModelRepository, log: Path) -> None:
    """Large bodies beyond the memory limit get status 503, and small ones are accepted."""
    promote(repository, 1)
    piece = b"Content-Length: 500000\r\n\r\n" + b" " * 400_000
    with (
        run_server(repository.folder, log, "--bodies-limit-bytes", "1000000") as server,
        contextlib.ExitStack() as stack,
    ):
        server.wait_for_version(1)
        held = [stack.enter_context(server.connect(20)) for _ in range(3)]
        for connection in held:
            connection.sendall(START + piece)
        server.wait_for(lambda: server.metric("rest_server_requests_total") > 0 and _refused(server) == 1)
        assert server.post("/v2/models/wine/infer", request(rows()[:1])).status == 200
        for connection in held:
            connection.sendall(b" " * 100_000)
        statuses = sorted(read_to_the_end_of_one(connection) for connection in held)
        assert statuses == [400, 400, 503]
        assert server.post("/v2/models/wine/infer", b" " * 900_000).status == 400  # what was held was given back


def _refused(server: ServerProcess) -> int:
    return server.get("/metrics").body.count(b'path="other",status_code="503"} 1.0')


def read_to_the_end_of_one(connection: socket.socket) -> int:
    """Return the status of the one answer that comes."""
    answer = b""
    while b"}" not in answer:
        answer += connection.recv(65536)
    return int(answer.split()[1])


def test_good_clients_are_answered_while_slow_ones_hold_on(own: ServerProcess, repository: ModelRepository) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            slow = stack.enter_context(own.connect(20))
            slow.sendall(START)
        with own.client() as client:
            for _ in range(100):
                assert client.post("/v2/models/wine/infer", request(rows()[:1])).status == 200
