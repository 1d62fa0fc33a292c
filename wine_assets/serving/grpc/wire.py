"""Check of encoded inference requests for too many fields, before they are decoded."""

from collections.abc import Iterator

from wine_assets.serving.data_plane import OUTPUTS
from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc import open_inference_pb2 as pb2

MAX_FIELDS = 64
"""More fields than a valid request has: name, version, id, input, values, outputs and some parameters."""
_INPUTS = pb2.ModelInferRequest.INPUTS_FIELD_NUMBER
_OUTPUTS = pb2.ModelInferRequest.OUTPUTS_FIELD_NUMBER
_ERRORS = {
    _INPUTS: "`inputs` holds more than there is. Send one input named `features`.",
    _OUTPUTS: f"`outputs` asks for more than there is. The outputs are {', '.join(OUTPUTS)}.",
    pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER: "raw_input_contents belong to more inputs than there are.",
}
_VARINT, _DELIMITED = 0, 2
_SIZES = {1: 8, 5: 4}
"""Bytes of a value, by wire types of a fixed size."""
_VARINT_BITS = 64
_CONTINUATION_BIT, _SEVEN_BITS = 0x80, 0x7F


class MalformedError(InvalidRequestError):
    """The bytes are no valid message."""


def check(content: bytes) -> None:
    """Raise InvalidRequestError for a request with too many fields, MalformedError for an invalid message.

    An empty input has two bytes, but needs a hundred times as many when it is decoded. Decoding eight megabytes of
    them would block the event loop for a minute. The values of a tensor count as one field.
    """
    for number, field in _fields(memoryview(content), _ERRORS):
        if number in (_INPUTS, _OUTPUTS):
            for _ in _fields(field, {}):
                pass


def _fields(content: memoryview, errors: dict[int, str]) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the encoded value of each field."""
    at, count, end = 0, 0, len(content)
    while at < end:
        key, at = _parse_varint(content, at)
        count += 1
        if count > MAX_FIELDS:
            raise InvalidRequestError(
                errors.get(key >> 3, f"The request has more than {MAX_FIELDS} parts. Leave parameters out of it.")
            )
        start, at = _parse_value(content, at, key & 7)
        if at > end:
            raise MalformedError
        yield key >> 3, content[start:at]


def _parse_value(content: memoryview, at: int, kind: int) -> tuple[int, int]:
    """Return the offsets of a value's start and end."""
    if kind == _DELIMITED:
        size, at = _parse_varint(content, at)
        return at, at + size
    if kind == _VARINT:
        return at, _parse_varint(content, at)[1]
    if kind in _SIZES:
        return at, at + _SIZES[kind]
    raise MalformedError


def _parse_varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return a number, whose bytes have seven bits each with the lowest first, and the offset of its end."""
    value = shift = 0
    while at < len(content) and shift < _VARINT_BITS:
        byte = content[at]
        value |= (byte & _SEVEN_BITS) << shift
        at, shift = at + 1, shift + 7
        if byte < _CONTINUATION_BIT:
            return value, at
    raise MalformedError
