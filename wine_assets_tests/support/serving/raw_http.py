"""Raw bytes on a connection, and the responses until the server closes it."""

import contextlib
import re
import socket

from wine_assets_tests.support.serving.server_process import ServerProcess

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class RawResponses:
    """All that a server sent on one connection, and whether it closed the connection."""

    def __init__(self, content: bytes, *, is_closed: bool) -> None:
        self.content, self.is_closed = content, is_closed
        self.statuses = [int(status) for status in _STATUS.findall(content)]


def read_until_closed(connection: socket.socket) -> RawResponses:
    """Read until the server closes the connection, or sends nothing for the connection's timeout."""
    content = b""
    try:
        while chunk := connection.recv(65536):
            content += chunk
    except TimeoutError:
        return RawResponses(content, is_closed=False)
    except ConnectionResetError:
        pass
    return RawResponses(content, is_closed=True)


def send_raw(server: ServerProcess, sent: bytes, timeout: float = 20) -> RawResponses:
    """Send bytes, keep the connection open, and return the responses."""
    with server.connect(timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        return read_until_closed(connection)
