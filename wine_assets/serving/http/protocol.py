"""The Open Inference Protocol V2 on HTTP: JSON objects, and the binary tensors that may follow them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from wine_assets.inference.predictor import LABEL
from wine_assets.serving.data_plane import OUTPUTS, InferenceResult, Request
from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.tensors import DATATYPES, Tensor

JSON = b"application/json"
BINARY = b"application/octet-stream"
_OUTPUTS_BYTES = 4096
"""More bytes than the JSON of all outputs has."""


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
    """A requested output."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(Struct, frozen=True):
    """Parameters of a request that this server knows; others are ignored."""

    binary_data_output: bool | None = None
    """Whether the values of outputs follow the JSON as bytes, unless the output has a parameter of its own."""


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
    """The tensor of a response: its values in order, flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | UnsetType = UNSET
    parameters: BinarySize | UnsetType = UNSET


class InferenceResponse(Struct, frozen=True, omit_defaults=True):
    """The JSON object of a response."""

    model_name: str
    model_version: str
    outputs: list[ResponseOutput]
    id: str = ""


class Prediction(Struct, frozen=True):
    """The prediction for one row of named values."""

    label: int
    probabilities: dict[str, float]
    model_version: str


class DecodedRequest(NamedTuple):
    """A request, and which of its outputs the client wants as bytes."""

    request: Request
    binary_outputs: frozenset[str]


_request_decoder = msgspec.json.Decoder(InferenceRequest)
_outputs_decoder = msgspec.json.Decoder(list[RequestOutput] | None)
_rows_decoder = msgspec.json.Decoder(dict[str, float] | list[dict[str, float]])
_InvalidRow = dict[str, float | str | bool | None]
_invalid_rows_decoder = msgspec.json.Decoder(_InvalidRow | list[_InvalidRow])
"""Decodes rows with values of a wrong type, so that an error can name the feature; msgspec's errors name no keys."""
encode = msgspec.json.Encoder().encode
_NO_OUTPUTS: frozenset[str] = frozenset()
_NO_BYTES = memoryview(b"")


def decode_request(body: bytes, json_bytes: int | None) -> DecodedRequest:
    """Return the inference request in a body, whose first `json_bytes` are JSON (None: the whole body).

    Raise InvalidRequestError for an invalid one.
    """
    binary = _NO_BYTES
    if json_bytes is not None:
        if json_bytes > len(body):
            raise InvalidRequestError(
                f"Inference-Header-Content-Length is {json_bytes}, and the body has {len(body)} bytes."
            )
        body, binary = body[:json_bytes], memoryview(body)[json_bytes:]
    decoded = _decode(_request_decoder, body)
    outputs = _decode_outputs(decoded.outputs)
    inputs = _tensors(decoded.inputs, binary)
    request = Request(inputs, [output.name for output in outputs], decoded.id or "")
    return DecodedRequest(request, _binary_outputs(decoded, outputs))


def decode_rows(body: bytes) -> dict[str, Any] | list[dict[str, Any]]:
    """Return the row, or the rows, of named values in a body; raise InvalidRequestError for an invalid body.

    A value may be a string, a boolean or null: a later check names the feature in its error.
    """
    rows: dict[str, Any] | list[dict[str, Any]]
    try:
        rows = _decode(_rows_decoder, body)
    except InvalidRequestError as error:
        try:
            rows = _decode(_invalid_rows_decoder, body)
        except InvalidRequestError:
            raise error from None
    return rows


def encode_result(result: InferenceResult, binary_outputs: frozenset[str]) -> tuple[bytes, int | None]:
    """Return the body of a response, and how many of its bytes are JSON (None: all)."""
    tensors: list[bytes] = []
    outputs = []
    for output in result.outputs:
        values = result.values(output)
        datatype, shape = "INT64" if output == LABEL else "FP32", list(values.shape)
        if output in binary_outputs:
            tensors.append(values.astype(DATATYPES[datatype], copy=False).tobytes())
            outputs.append(ResponseOutput(output, datatype, shape, parameters=BinarySize(values.nbytes)))
        else:
            outputs.append(ResponseOutput(output, datatype, shape, values.reshape(-1).tolist()))
    model = result.model
    header = encode(InferenceResponse(model.name, model.version, outputs, result.id))
    if not binary_outputs:
        return header, None
    return b"".join((header, *tensors)), len(header)


def predictions_of(result: InferenceResult) -> list[Prediction]:
    """Return the predictions for named rows, one object a row."""
    names = [str(label) for label in result.model.classes]
    return [
        Prediction(label, dict(zip(names, row, strict=True)), result.model.version)
        for label, row in zip(result.labels.tolist(), result.probabilities.tolist(), strict=True)
    ]


def _decode(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(body)
    except RecursionError:
        raise InvalidRequestError("The JSON of the request is nested too deeply.") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidRequestError(f"The JSON of the request can't be read: {error}.") from None


def _decode_outputs(raw: msgspec.Raw) -> Sequence[RequestOutput]:
    size = len(memoryview(raw))
    if not size:
        return ()
    if size > _OUTPUTS_BYTES:
        raise InvalidRequestError(f"`outputs` asks for more than there is. The outputs are {', '.join(OUTPUTS)}.")
    outputs: Sequence[RequestOutput] = _decode(_outputs_decoder, raw) or ()
    for output in outputs:
        parameters = output.parameters
        if parameters and (parameters.classification or parameters.shared_memory_region is not None):
            raise InvalidRequestError(
                "The extensions for classification and shared memory aren't supported. Leave their parameters out."
            )
    return outputs


def _binary_outputs(decoded: InferenceRequest, outputs: Sequence[RequestOutput]) -> frozenset[str]:
    """Return the outputs that the client wants as bytes; an output's parameter takes precedence over the request's."""
    default = bool(decoded.parameters and decoded.parameters.binary_data_output)
    if not outputs:
        return frozenset(OUTPUTS) if default else _NO_OUTPUTS
    names = []
    for output in outputs:
        binary_data = output.parameters.binary_data if output.parameters else None
        if default if binary_data is None else binary_data:
            names.append(output.name)
    return frozenset(names)


def _tensors(inputs: list[RequestInput], binary: memoryview) -> list[Tensor]:
    """Return the inputs with their values, of which the binary ones follow each other in `binary`."""
    tensors, start = [], 0
    for tensor in inputs:
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if tensor.parameters and tensor.parameters.shared_memory_region is not None:
            raise InvalidRequestError("The extension for shared memory isn't supported. Send the values.")
        if size is None:
            if tensor.data is UNSET:
                raise InvalidRequestError("An input has no `data`. Send its values, or binary_data_size and bytes.")
            tensors.append(Tensor(tensor.name, tensor.datatype, tensor.shape, tensor.data))
            continue
        if tensor.data is not UNSET or not 0 <= size <= len(binary) - start:
            raise InvalidRequestError(
                "An input's binary_data_size must count bytes that follow the JSON, and `data` must be left out."
            )
        tensors.append(Tensor(tensor.name, tensor.datatype, tensor.shape, binary[start : start + size]))
        start += size
    if start != len(binary):
        raise InvalidRequestError(f"{len(binary) - start} bytes follow the JSON that belong to no input.")
    return tensors
