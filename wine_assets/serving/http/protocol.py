"""The Open Inference Protocol V2 on HTTP: its JSON objects, and the binary tensors that may follow them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from wine_assets.inference.predictor import LABEL
from wine_assets.serving.data_plane import OUTPUTS, Answer, Request
from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.tensors import Tensor

JSON = b"application/json"
BINARY = b"application/octet-stream"
_OUTPUTS_BYTES = 4096
"""More than the JSON of all the outputs that there are takes."""


class Live(Struct, frozen=True):
    """Whether the process runs and answers."""

    live: bool


class Ready(Struct, frozen=True):
    """Whether a model is loaded, verified and warmed, and the server isn't about to stop."""

    ready: bool


class ModelReady(Struct, frozen=True):
    """Whether a model can be asked."""

    name: str
    ready: bool


class ServerMetadata(Struct, frozen=True):
    """What the server is, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: tuple[str, ...]


class ErrorAnswer(Struct, frozen=True):
    """Why a request wasn't answered, in a sentence."""

    error: str


class InputParameters(Struct, frozen=True):
    """Parameters of an input that this server knows; others are ignored."""

    binary_data_size: int | None = None
    """How many bytes after the JSON hold the values, in place of `data`."""
    shared_memory_region: str | None = None


class RequestInput(Struct, frozen=True):
    """The tensor of an inference request: rows in order, flat or a list for each row."""

    name: str
    shape: list[int]
    datatype: str
    parameters: InputParameters | None = None
    data: list[float | list[float]] | UnsetType = UNSET


class OutputParameters(Struct, frozen=True):
    """Parameters of an output that this server knows; others are ignored."""

    binary_data: bool | None = None
    """Whether the values follow the JSON as bytes."""
    classification: int | None = None
    shared_memory_region: str | None = None


class RequestOutput(Struct, frozen=True):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(Struct, frozen=True):
    """Parameters of a request that this server knows; others are ignored."""

    binary_data_output: bool | None = None
    """Whether the values of outputs follow the JSON as bytes, where the output itself doesn't say."""


class InferenceRequest(Struct, frozen=True):
    """The JSON object of an inference request."""

    inputs: list[RequestInput]
    id: str | None = None
    parameters: RequestParameters | None = None
    outputs: msgspec.Raw = msgspec.Raw(b"")


class BinarySize(Struct, frozen=True):
    """How many bytes after the JSON hold an output's values."""

    binary_data_size: int


class ResponseOutput(Struct, frozen=True, omit_defaults=True):
    """The tensor of an answer: its values in order, flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | UnsetType = UNSET
    parameters: BinarySize | UnsetType = UNSET


class InferenceResponse(Struct, frozen=True, omit_defaults=True):
    """The JSON object of an answer."""

    model_name: str
    model_version: str
    outputs: list[ResponseOutput]
    id: str = ""


class Prediction(Struct, frozen=True):
    """The answer to one row of named values."""

    label: int
    probabilities: dict[str, float]
    model_version: str


class Asked(NamedTuple):
    """A request, and which of its outputs are wanted as bytes."""

    request: Request
    binary: frozenset[str]


_requests = msgspec.json.Decoder(InferenceRequest)
_outputs = msgspec.json.Decoder(list[RequestOutput] | None)
_rows = msgspec.json.Decoder(dict[str, float] | list[dict[str, float]])
_Wrong = dict[str, float | str | bool | None]
_wrong_rows = msgspec.json.Decoder(_Wrong | list[_Wrong])
"""Reads rows some of whose values are no numbers, for whoever then says which: msgspec names no keys."""
encode = msgspec.json.Encoder().encode
NO_BINARY: frozenset[str] = frozenset()
_NOTHING = memoryview(b"")


def decode_infer(body: bytes, json_bytes: int | None) -> Asked:
    """Return the inference request of a body, of which the first `json_bytes` are JSON (None: all of it).

    Raise InvalidRequestError for what isn't one.
    """
    binary = _NOTHING
    if json_bytes is not None:
        if json_bytes > len(body):
            raise InvalidRequestError(
                f"Inference-Header-Content-Length is {json_bytes}, and the body has {len(body)} bytes."
            )
        body, binary = body[:json_bytes], memoryview(body)[json_bytes:]
    decoded = _decoded(_requests, body)
    outputs = _wanted(decoded.outputs)
    inputs = _tensors(decoded.inputs, binary)
    return Asked(Request(inputs, [output.name for output in outputs], decoded.id or ""), _as_bytes(decoded, outputs))


def decode_rows(body: bytes) -> dict[str, Any] | list[dict[str, Any]]:
    """Return the row, or the rows, of named values in a body; raise InvalidRequestError for what isn't one.

    A value may be a text, a switch or null, so that it can be refused by the name of its feature.
    """
    rows: dict[str, Any] | list[dict[str, Any]]
    try:
        rows = _decoded(_rows, body)
    except InvalidRequestError as error:
        try:
            rows = _decoded(_wrong_rows, body)
        except InvalidRequestError:
            raise error from None
    return rows


def encode_answer(answer: Answer, binary: frozenset[str]) -> tuple[bytes, int | None]:
    """Return the body of an answer, and how much of it is JSON (None: all of it)."""
    blobs: list[bytes] = []
    outputs = [
        _as_blob(answer, output, blobs) if output in binary else _as_numbers(answer, output)
        for output in answer.outputs
    ]
    served = answer.served
    header = encode(InferenceResponse(served.name, served.version, outputs, answer.id))
    if not binary:
        return header, None
    return b"".join((header, *blobs)), len(header)


def encode_predictions(answer: Answer) -> list[Prediction]:
    """Return the answer to named rows, one object a row."""
    names = [str(label) for label in answer.served.classes]
    return [
        Prediction(label, dict(zip(names, row, strict=True)), answer.served.version)
        for label, row in zip(answer.labels.tolist(), answer.probabilities.tolist(), strict=True)
    ]


def _decoded(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(body)
    except RecursionError:
        raise InvalidRequestError("The JSON of the request is nested too deeply.") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidRequestError(f"The JSON of the request can't be read: {error}.") from None


def _wanted(raw: msgspec.Raw) -> Sequence[RequestOutput]:
    content = memoryview(raw)
    if not content:
        return ()
    if len(content) > _OUTPUTS_BYTES:
        raise InvalidRequestError(f"`outputs` asks for more than there is. The outputs are {', '.join(OUTPUTS)}.")
    outputs: Sequence[RequestOutput] = _decoded(_outputs, raw) or ()
    for output in outputs:
        parameters = output.parameters
        if parameters and (parameters.classification or parameters.shared_memory_region is not None):
            raise InvalidRequestError(
                "The extensions for classification and shared memory aren't supported. Leave their parameters out."
            )
    return outputs


def _as_bytes(decoded: InferenceRequest, outputs: Sequence[RequestOutput]) -> frozenset[str]:
    """Return the outputs that are wanted as bytes."""
    everything = bool(decoded.parameters and decoded.parameters.binary_data_output)
    if not outputs:
        return frozenset(OUTPUTS) if everything else NO_BINARY
    return frozenset(
        output.name
        for output in outputs
        if (
            everything
            if not output.parameters or output.parameters.binary_data is None
            else output.parameters.binary_data
        )
    )


def _tensors(inputs: list[RequestInput], binary: memoryview) -> list[Tensor]:
    tensors, start = [], 0
    for given in inputs:
        size = given.parameters.binary_data_size if given.parameters else None
        if given.parameters and given.parameters.shared_memory_region is not None:
            raise InvalidRequestError("The extension for shared memory isn't supported. Send the values.")
        if size is None:
            if given.data is UNSET:
                raise InvalidRequestError("An input has no `data`. Send its values, or binary_data_size and bytes.")
            tensors.append(Tensor(given.name, given.datatype, given.shape, given.data))
            continue
        if given.data is not UNSET or not 0 <= size <= len(binary) - start:
            raise InvalidRequestError(
                "An input's binary_data_size must count bytes that follow the JSON, and `data` must be left out."
            )
        tensors.append(Tensor(given.name, given.datatype, given.shape, binary[start : start + size]))
        start += size
    if start != len(binary):
        raise InvalidRequestError(f"{len(binary) - start} bytes follow the JSON that belong to no input.")
    return tensors


def _datatype(output: str) -> str:
    return "INT64" if output == LABEL else "FP32"


def _as_numbers(answer: Answer, output: str) -> ResponseOutput:
    values = answer.values(output)
    return ResponseOutput(output, _datatype(output), list(values.shape), values.reshape(-1).tolist())


def _as_blob(answer: Answer, output: str, blobs: list[bytes]) -> ResponseOutput:
    values = answer.values(output)
    blobs.append(values.astype("<i8" if output == LABEL else "<f4", copy=False).tobytes())
    return ResponseOutput(output, _datatype(output), list(values.shape), parameters=BinarySize(values.nbytes))
