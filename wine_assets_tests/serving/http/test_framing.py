"""Messages whose beginning and end are ambiguous: a proxy in front could see other requests in them."""

import json

import pytest

from wine_assets_tests.support.serving.models import request, rows
from wine_assets_tests.support.serving.raw_http import send_raw
from wine_assets_tests.support.serving.server_process import ServerProcess

BODY = json.dumps(request(rows()[:1])).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
START = b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

ATTACKS = {
    "length and chunks": START + LENGTH + CHUNKED + b"\r\n" + CHUNKS + SMUGGLED,
    "chunks and length": START + CHUNKED + LENGTH + b"\r\n" + CHUNKS + SMUGGLED,
    "two lengths": START + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY + SMUGGLED,
    "the same length twice": START + LENGTH + LENGTH + b"\r\n" + BODY + SMUGGLED,
    "a list of lengths": START + b"Content-Length: %d, 5\r\n\r\n" % len(BODY) + BODY + SMUGGLED,
    "a negative length": START + b"Content-Length: -5\r\n\r\n" + BODY,
    "a length with a plus": START + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
    "a hexadecimal length": START + b"Content-Length: 0x20\r\n\r\n" + BODY,
    "a length that overflows": START + b"Content-Length: 18446744073709551617\r\n\r\n" + BODY,
    "an empty length": START + b"Content-Length: \r\n\r\n" + BODY,
    "a space before the colon": START + b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY,
    "bare line feeds": START.replace(b"\r\n", b"\n") + LENGTH.replace(b"\r\n", b"\n") + b"\n" + BODY,
    "a bare line feed": START + b"X: 1\n" + LENGTH + b"\r\n" + BODY,
    "a bare carriage return": START + b"X: 1\r" + LENGTH + b"\r\n" + BODY,
    "a folded header": START + LENGTH + b"X: 1\r\n folded\r\n\r\n" + BODY,
    "a chunk that is no number": START + CHUNKED + b"\r\nxyz\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that is negative": START + CHUNKED + b"\r\n-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that overflows": START + CHUNKED + b"\r\nfffffffffffffffff\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk without an end": START + CHUNKED + b"\r\n%x\r\n%sXX0\r\n\r\n" % (len(BODY), BODY) + SMUGGLED,
    "a chunk that ends in a line feed": START + CHUNKED + b"\r\n%x\n%s\n0\n\n" % (len(BODY), BODY) + SMUGGLED,
    "another encoding": START + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunks twice": START + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKS,
    "chunks and identity": START + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS,
    "packed chunks": START + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunks of HTTP/1.0": START.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS,
    "no host": START.replace(b"Host: localhost\r\n", b"") + LENGTH + b"\r\n" + BODY,
    "two hosts": START + b"Host: localhost\r\n" + LENGTH + b"\r\n" + BODY,
    "another host": START.replace(b"localhost", b"evil.example.org") + LENGTH + b"\r\n" + BODY,
    "a host of nothing": START.replace(b"localhost", b"") + LENGTH + b"\r\n" + BODY,
    "a host with a user": START.replace(b"localhost", b"localhost@evil.example.org") + LENGTH + b"\r\n" + BODY,
    "a header without a name": START + b": 1\r\n" + LENGTH + b"\r\n" + BODY,
    "a header with a NUL": START + b"X: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "a method that nobody knows": b"GRAB / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /v2/health/live\r\n\r\n",
    "HTTP/2.0": START.replace(b"1.1", b"2.0") + LENGTH + b"\r\n" + BODY,
    "HTTP/9.9": START.replace(b"1.1", b"9.9") + LENGTH + b"\r\n" + BODY,
    "HTTP/2's greeting": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "a tunnel": b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_ambiguous_framing_is_rejected(attack: bytes, server: ServerProcess) -> None:
    """Ambiguous framing is rejected once, and the connection is closed."""
    answers = send_raw(server, attack)
    assert answers.is_closed
    assert answers.statuses == [400], answers.content
    assert b"connection: close" in answers.content
    assert b'{"error":"' in answers.content


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"a" * (128 << 10),
        b"\r\n".join(b"X-%d: %s" % (number, b"a" * 1000) for number in range(100)),
        b"\r\n".join(b"X: a" for _ in range(20_000)),
        b"a" * (1 << 20),
    ],
)
def test_headers_that_are_too_large_are_refused(headers: bytes, server: ServerProcess) -> None:
    answers = send_raw(server, START + headers + b"\r\n" + LENGTH + b"\r\n" + BODY)
    assert answers.is_closed
    assert answers.statuses == [431]


def test_a_path_that_is_too_large_is_refused(server: ServerProcess) -> None:
    answers = send_raw(server, b"GET /" + b"a" * (100 << 10) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (answers.statuses, answers.is_closed) == ([431], True)


def test_requests_on_one_connection_are_answered_in_their_order(server: ServerProcess) -> None:
    last = b"GET /v2/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = send_raw(server, (START + LENGTH + b"\r\n" + BODY) * 20 + SMUGGLED + last + SMUGGLED)
    assert answers.is_closed
    assert answers.statuses == [200] * 21 + [404]


def test_what_follows_a_good_request_does_not_take_its_answer(server: ServerProcess) -> None:
    answers = send_raw(server, SMUGGLED + b"garbage\r\n\r\n")
    assert answers.is_closed
    assert answers.statuses == [200]


@pytest.mark.parametrize(
    "sent",
    [
        START + CHUNKED + b"\r\n" + CHUNKS,
        START + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n" + BODY,
        START.replace(b"Host: localhost", b"Host: LOCALHOST:8080") + LENGTH + b"\r\n" + BODY,
        START.replace(b"Host: localhost", b"Host: [::1]:80") + LENGTH + b"\r\n" + BODY,
        START.replace(b"1.1\r\nHost: localhost", b"1.0") + LENGTH + b"\r\n" + BODY,
        START.replace(b"POST ", b"POST http://localhost") + LENGTH + b"\r\n" + BODY,
        START + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + LENGTH + b"\r\n" + BODY,
        b"\r\n" + START + LENGTH + b"\r\n" + BODY,
    ],
)
def test_what_is_unusual_and_clear_is_answered(sent: bytes, server: ServerProcess) -> None:
    sent = sent.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost") if b"Upgrade" not in sent else sent
    answers = send_raw(server, sent)
    assert answers.is_closed
    assert answers.statuses[-1] == 200, answers.content
    assert answers.statuses in ([200], [100, 200])
