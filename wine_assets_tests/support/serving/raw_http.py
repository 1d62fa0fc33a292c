"""Bytes on a bare connection, and what comes back until the other side ends it."""

import contextlib
import re
import socket

from wine_assets_tests.support.serving.server_process import Running

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Answers:
    """All that a server sent on one connection, and whether it ended the connection."""

    def __init__(self, content: bytes, *, is_closed: bool) -> None:
        self.content, self.is_closed = content, is_closed
        self.statuses = [int(status) for status in _STATUS.findall(content)]


def read_to_the_end(connection: socket.socket) -> Answers:
    """Read until the server ends the connection, or says nothing for the connection's timeout."""
    content = b""
    try:
        while chunk := connection.recv(65536):
            content += chunk
    except TimeoutError:
        return Answers(content, is_closed=False)
    except ConnectionResetError:
        pass
    return Answers(content, is_closed=True)


def exchange(server: Running, sent: bytes, timeout: float = 20) -> Answers:
    """Send bytes, keep the connection open, and return what comes back."""
    with server.connect(timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        return read_to_the_end(connection)
