"""A serialized model reduced to one of its outputs, so that a batch computes nothing that nobody asked for."""

from collections.abc import Iterator
from typing import NamedTuple

from wine_assets.errors import ArtifactError

# Field numbers of onnx.proto (ONNX IR specification), and the wire types of Protocol Buffers' encoding.
_GRAPH_OF_MODEL, _OUTPUT_OF_GRAPH, _NAME_OF_VALUE = 7, 12, 1
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_WIDTHS = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_NO_MODEL = "The model is cut short, or no ONNX model. Export it again."
_MORE, _SEVEN_BITS, _LONGEST_VARINT = 0x80, 0x7F, 10


class _Field(NamedTuple):
    """One field of a message: its number, all of its bytes, and those of its value."""

    number: int
    encoded: bytes
    value: bytes


def with_output(model: bytes, name: str) -> bytes:
    """Return the model with `name` as its only output; onnxruntime then leaves out what only others need.

    onnxruntime runs every node of a graph, whichever outputs a call names. Raise ArtifactError for what is no model,
    or has no such output.
    """
    fields = [*_fields(model)]
    if not any(field.number == _GRAPH_OF_MODEL for field in fields):
        raise ArtifactError(_NO_MODEL)
    return b"".join(
        _encoded(field.number, _graph_with_output(field.value, name))
        if field.number == _GRAPH_OF_MODEL
        else field.encoded
        for field in fields
    )


def _graph_with_output(graph: bytes, name: str) -> bytes:
    fields = [*_fields(graph)]
    kept = [field for field in fields if field.number != _OUTPUT_OF_GRAPH or _name(field.value) == name]
    if not any(field.number == _OUTPUT_OF_GRAPH for field in kept):
        raise ArtifactError(f"The model has no output `{name}`. Export it again.")
    return b"".join(field.encoded for field in kept)


def _name(value: bytes) -> str:
    names = [field.value.decode(errors="replace") for field in _fields(value) if field.number == _NAME_OF_VALUE]
    return names[-1] if names else ""


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        key, start = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value_at, end = start, _varint(message, start)[1]
        elif wire_type == _LENGTH:
            length, value_at = _varint(message, start)
            end = value_at + length
        else:
            value_at, end = start, start + _WIDTHS.get(wire_type, len(message))
        if end > len(message):
            raise ArtifactError(_NO_MODEL)
        yield _Field(number, message[at:end], message[value_at:end])
        at = end


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place after it."""
    value = 0
    for count, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & _SEVEN_BITS) << (7 * count)
        if not byte & _MORE:
            return value, at + count + 1
    raise ArtifactError(_NO_MODEL)


def _encoded(number: int, value: bytes) -> bytes:
    return _encoded_varint(number << 3 | _LENGTH) + _encoded_varint(len(value)) + value


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > _SEVEN_BITS:
        encoded.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    return bytes([*encoded, value])
