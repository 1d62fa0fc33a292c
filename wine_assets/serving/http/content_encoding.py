"""Reading of request bodies, and compression of bodies in both directions."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from wine_assets.serving.errors import DisconnectedError, InvalidRequestError, TooLargeError, UnsupportedTypeError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_ANY_HEADER = 47
"""zlib's window bits for a window of any size, with the header of gzip or of zlib."""
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_MIN_COMPRESSED_BYTES = 1024
_FASTEST = 1


async def read(receive: Receive) -> bytes:
    """Return the whole body; raise DisconnectedError if the client disconnects before its end."""
    chunks: list[bytes] = []
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] != "http.request":
            raise DisconnectedError("The client went away.")
        chunks.append(message["body"])
        more_body = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Return a body without its Content-Encoding; never allocate more than `limit` bytes for it."""
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedTypeError("Content-Encoding must be gzip or deflate, or left out.")
    decompressor = zlib.decompressobj(_ANY_HEADER)
    try:
        content = decompressor.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidRequestError("The body isn't compressed as Content-Encoding says.") from None
    if len(content) > limit:
        raise TooLargeError(f"The body is larger than {limit} bytes once it is decompressed.")
    if not decompressor.eof or decompressor.unused_data:
        raise InvalidRequestError("The compressed body is cut short, or something follows it.")
    return content


def compress(content: bytes, accept_encoding: bytes) -> tuple[bytes, bytes]:
    """Return a response body and its Content-Encoding, which is empty if the body stays as it is."""
    if len(content) < _MIN_COMPRESSED_BYTES:
        return content, b""
    accepted = _parse_accept_encoding(accept_encoding)
    for encoding, bits in _WINDOW_BITS.items():
        if encoding in accepted:
            compressor = zlib.compressobj(_FASTEST, wbits=bits)
            return compressor.compress(content) + compressor.flush(), encoding
    return content, b""


def _parse_accept_encoding(header: bytes) -> set[bytes]:
    accepted = set()
    for entry in header.lower().split(b","):
        encoding, _, quality = entry.replace(b" ", b"").partition(b";q=")
        if not quality or quality.strip(b"0."):
            accepted.add(encoding)
    return accepted
