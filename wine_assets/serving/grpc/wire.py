"""Inference requests as bytes, in which too many parts are found before anything is made of them."""

from collections.abc import Iterator

from wine_assets.serving.data_plane import OUTPUTS
from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc import open_inference_pb2 as pb2

MANY = 64
"""More than an honest request has: a name, a version, an id, an input, its values, the outputs, and some parameters."""
_INPUTS = pb2.ModelInferRequest.INPUTS_FIELD_NUMBER
_OUTPUTS = pb2.ModelInferRequest.OUTPUTS_FIELD_NUMBER
_SENTENCES = {
    _INPUTS: "`inputs` holds more than there is. Send one input named `features`.",
    _OUTPUTS: f"`outputs` asks for more than there is. The outputs are {', '.join(OUTPUTS)}.",
    pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER: "raw_input_contents belong to more inputs than there are.",
}
_VARINT, _DELIMITED = 0, 2
_SIZES = {1: 8, 5: 4}
"""Bytes of a value, by the wire types whose values all have the same size."""
_VARINT_BITS = 64
_MORE, _SEVEN = 0x80, 0x7F


class MalformedError(InvalidRequestError):
    """Bytes that are no message."""


def check(content: bytes) -> None:
    """Raise InvalidRequestError for a request of more parts than any that can be answered, or for none.

    Two bytes are an input, and take a hundred times that, and longer than the event loop may be kept, once they are
    read: eight megabytes of them would stop a server for a minute. The values of a tensor count as one part.
    """
    for number, part in _parts(memoryview(content), _SENTENCES):
        if number in (_INPUTS, _OUTPUTS):
            for _ in _parts(part, {}):
                pass


def _parts(content: memoryview, sentences: dict[int, str]) -> Iterator[tuple[int, memoryview]]:
    """Yield the number of each part, and what it holds."""
    at, count, end = 0, 0, len(content)
    while at < end:
        key, at = _varint(content, at)
        count += 1
        if count > MANY:
            raise InvalidRequestError(
                sentences.get(key >> 3, f"The request has more than {MANY} parts. Leave parameters out of it.")
            )
        start, at = _value(content, at, key & 7)
        if at > end:
            raise MalformedError
        yield key >> 3, content[start:at]


def _value(content: memoryview, at: int, kind: int) -> tuple[int, int]:
    """Return where a value begins and ends."""
    if kind == _DELIMITED:
        size, at = _varint(content, at)
        return at, at + size
    if kind == _VARINT:
        return at, _varint(content, at)[1]
    if kind in _SIZES:
        return at, at + _SIZES[kind]
    raise MalformedError


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return a number, seven bits to a byte with the lowest first, and where it ends."""
    value = shift = 0
    while at < len(content) and shift < _VARINT_BITS:
        byte = content[at]
        value |= (byte & _SEVEN) << shift
        at, shift = at + 1, shift + 7
        if byte < _MORE:
            return value, at
    raise MalformedError
