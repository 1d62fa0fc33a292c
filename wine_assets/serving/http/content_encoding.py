"""The bodies of requests and answers: read whole, and unpacked and packed where the client says so."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from wine_assets.serving.errors import DisconnectedError, InvalidRequestError, TooLargeError, UnsupportedTypeError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_GZIP_OR_ZLIB = 47
"""zlib's way to say: any window, and either header."""
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
_WORTH_BYTES = 1024
_FAST = 1


async def read(receive: Receive) -> bytes:
    """Return the whole body; raise DisconnectedError when the client goes before its end."""
    message = await receive()
    if message["type"] != "http.request":
        raise DisconnectedError("The client went away.")
    if not message.get("more_body"):
        return message["body"]  # type: ignore[no-any-return]
    chunks = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            raise DisconnectedError("The client went away.")
        chunks.append(message["body"])
    return b"".join(chunks)


def unpacked(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Return a body without its Content-Encoding; more than `limit` bytes are never made of it."""
    if encoding.strip().lower() in (b"", b"identity"):
        return body
    if encoding.strip().lower() not in _WINDOW_BITS:
        raise UnsupportedTypeError("Content-Encoding must be gzip or deflate, or left out.")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidRequestError("The body isn't compressed as Content-Encoding says.") from None
    if len(content) > limit:
        raise TooLargeError(f"The body is larger than {limit} bytes once it is decompressed.")
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequestError("The compressed body is cut short, or something follows it.")
    return content


def packed(content: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """Return an answer as the client would like it, and its Content-Encoding: empty where it stays as it is."""
    if len(content) < _WORTH_BYTES:
        return content, b""
    encodings = _accepted(accepted)
    for encoding, bits in _WINDOW_BITS.items():
        if encoding in encodings:
            packer = zlib.compressobj(_FAST, wbits=bits)
            return packer.compress(content) + packer.flush(), encoding
    return content, b""


def _accepted(header: bytes) -> set[bytes]:
    accepted = set()
    for entry in header.lower().split(b","):
        encoding, _, quality = entry.replace(b" ", b"").partition(b";q=")
        if not quality or quality.strip(b"0."):
            accepted.add(encoding)
    return accepted
