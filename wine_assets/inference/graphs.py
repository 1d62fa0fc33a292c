"""Reduction of a serialized ONNX model to one of its outputs."""

from collections.abc import Iterator
from typing import NamedTuple

from wine_assets.errors import ArtifactError

# Field numbers of onnx.proto (ONNX IR specification), and the wire types of Protocol Buffers' encoding.
_GRAPH_OF_MODEL, _OUTPUT_OF_GRAPH, _NAME_OF_VALUE = 7, 12, 1
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_WIDTHS = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_INVALID_MODEL = "The model is cut short, or no ONNX model. Export it again."
_MORE, _SEVEN_BITS, _LONGEST_VARINT = 0x80, 0x7F, 10


class _Field(NamedTuple):
    """A field of a message: its number, its encoded form, and its encoded value."""

    number: int
    encoded: bytes
    value: bytes


def with_output(model: bytes, name: str) -> bytes:
    """Return the model with `name` as its only output, so that onnxruntime computes nothing else.

    onnxruntime runs every node of a graph, whichever outputs a call names. Raise ArtifactError if `model` is no ONNX
    model, or has no such output.
    """
    fields = [*_parse_fields(model)]
    if not any(field.number == _GRAPH_OF_MODEL for field in fields):
        raise ArtifactError(_INVALID_MODEL)
    return b"".join(
        _encode(field.number, _graph_with_output(field.value, name))
        if field.number == _GRAPH_OF_MODEL
        else field.encoded
        for field in fields
    )


def _graph_with_output(graph: bytes, name: str) -> bytes:
    fields = [*_parse_fields(graph)]
    kept = [field for field in fields if field.number != _OUTPUT_OF_GRAPH or _parse_name(field.value) == name]
    if not any(field.number == _OUTPUT_OF_GRAPH for field in kept):
        raise ArtifactError(f"The model has no output `{name}`. Export it again.")
    return b"".join(field.encoded for field in kept)


def _parse_name(value: bytes) -> str:
    names = [field.value.decode(errors="replace") for field in _parse_fields(value) if field.number == _NAME_OF_VALUE]
    return names[-1] if names else ""


def _parse_fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        key, start = _parse_varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value_at, end = start, _parse_varint(message, start)[1]
        elif wire_type == _LENGTH:
            length, value_at = _parse_varint(message, start)
            end = value_at + length
        else:
            value_at, end = start, start + _WIDTHS.get(wire_type, len(message))
        if end > len(message):
            raise ArtifactError(_INVALID_MODEL)
        yield _Field(number, message[at:end], message[value_at:end])
        at = end


def _parse_varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that starts at an offset, and the offset of its end."""
    value = 0
    for count, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & _SEVEN_BITS) << (7 * count)
        if not byte & _MORE:
            return value, at + count + 1
    raise ArtifactError(_INVALID_MODEL)


def _encode(number: int, value: bytes) -> bytes:
    return _encode_varint(number << 3 | _LENGTH) + _encode_varint(len(value)) + value


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > _SEVEN_BITS:
        encoded.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    return bytes([*encoded, value])
