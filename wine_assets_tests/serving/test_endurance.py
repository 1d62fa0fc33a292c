"""What many requests, and many bad clients, leave behind."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import psutil
import pytest

from wine_assets_tests.support.serving.models import request, rows
from wine_assets_tests.support.serving.server_process import ServerProcess

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif("SOAK" not in os.environ, reason="takes minutes; `make soak` runs it"),
    pytest.mark.timeout(1800),
]
Record = Callable[[str, object], None]
INFER = b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: localhost\r\n"
REQUESTS, WARM = 1_000_000, 100_000
PIPELINED = 8
SLOW, STREAMS, ATTACK_S = 1000, 100, 60


def _ask(server: ServerProcess, count: int) -> None:
    """Ask many times, a few requests at once on one connection."""
    body = msgspec.json.encode(request(rows()[:1]))
    one = INFER + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with server.connect() as connection:
        for _ in range(count // PIPELINED):
            connection.sendall(one * PIPELINED)
            answered = b""
            while answered.count(b"HTTP/1.1 200 ") < PIPELINED or not answered.endswith(b"]}]}"):
                answered += connection.recv(65536)


def test_a_million_requests_take_no_memory(own: ServerProcess, record_property: Record) -> None:
    process = psutil.Process(own.process.pid)
    _ask(own, WARM)
    before = process.memory_info().rss
    _ask(own, REQUESTS)
    grown = process.memory_info().rss - before
    record_property("grown_mib", grown / 2**20)
    assert grown <= 5 << 20


def _latencies(server: ServerProcess, seconds: float) -> list[float]:
    body, found = msgspec.json.encode(request(rows()[:1])), []
    end = time.monotonic() + seconds
    with server.client() as client:
        while time.monotonic() < end:
            began = time.perf_counter()
            assert client.post("/v2/models/wine/infer", body).status == 200
            found.append(time.perf_counter() - began)
            time.sleep(0.002)
    return found


def _stream(server: ServerProcess, stop: threading.Event) -> None:
    """Send bodies that never end, one after another is refused."""
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    while not stop.is_set():
        with contextlib.suppress(OSError), server.connect(5) as connection:
            connection.sendall(INFER + b"Transfer-Encoding: chunked\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(chunk)


def _trickle(server: ServerProcess, stop: threading.Event) -> None:
    """Hold on to many connections with headers that never end; those that are closed are opened again."""
    with contextlib.ExitStack() as stack:
        held: list[socket.socket] = []
        while not stop.wait(0.5):
            held = [connection for connection in held if _goes_out(connection, b"X: y\r\n")]
            new = [stack.enter_context(server.connect(5)) for _ in range(SLOW - len(held))]
            held += [connection for connection in new if _goes_out(connection, INFER)]


def _goes_out(connection: socket.socket, content: bytes) -> bool:
    try:
        connection.sendall(content)
    except OSError:
        connection.close()
        return False
    return True


@contextlib.contextmanager
def _attackers(server: ServerProcess) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=_stream, args=(server, stop)) for _ in range(STREAMS)]
    threads.append(threading.Thread(target=_trickle, args=(server, stop)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_good_client_is_answered_among_a_thousand_bad_ones(own: ServerProcess, record_property: Record) -> None:
    process = psutil.Process(own.process.pid)
    quiet = _latencies(own, 10)
    before = process.memory_info().rss
    with _attackers(own):
        loaded = _latencies(own, ATTACK_S)
        grown = process.memory_info().rss - before
    p99 = [float(np.quantile(found, 0.99)) * 1000 for found in (quiet, loaded)]
    record_property("p99_ms_alone_and_among_them", p99)
    record_property("grown_mib", grown / 2**20)
    assert grown <= 64 << 20
