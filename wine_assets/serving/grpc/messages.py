"""Requests and answers of the data plane as the protocol's gRPC messages."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wine_assets.inference.predictor import LABEL
from wine_assets.serving.data_plane import Answer, ModelMetadata, Request, TensorMetadata
from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.tensors import DATATYPES, Tensor

_CONTENTS = {"FP32": "fp32_contents", "FP64": "fp64_contents", "INT32": "int_contents", "INT64": "int64_contents"}
_DATATYPES_OF_OUTPUTS = {LABEL: "INT64"}
_DIMENSIONS = 5
"""One more than are shown of a shape that is refused."""


def request_of(message: pb2.ModelInferRequest) -> Request:
    """Return an inference request; raise InvalidRequestError where raw contents and inputs don't fit together."""
    return Request(
        [_tensor(message, place) for place in range(len(message.inputs))],
        [output.name for output in message.outputs],
        message.id,
    )


def is_raw(message: pb2.ModelInferRequest) -> bool:
    """Whether the inputs are bytes, and so the outputs have to be."""
    return bool(message.raw_input_contents)


def response_of(answer: Answer, *, raw: bool) -> pb2.ModelInferResponse:
    """Return an answer, with its values as little-endian bytes or typed."""
    response = pb2.ModelInferResponse(model_name=answer.served.name, model_version=answer.served.version, id=answer.id)
    for name in answer.outputs:
        values = answer.values(name)
        datatype = _DATATYPES_OF_OUTPUTS.get(name, "FP32")
        output = response.outputs.add(name=name, datatype=datatype, shape=values.shape)
        if raw:
            response.raw_output_contents.append(values.astype(DATATYPES[datatype], copy=False).tobytes())
        else:
            getattr(output.contents, _CONTENTS[datatype]).extend(values.ravel().tolist())
    return response


def metadata_of(metadata: ModelMetadata) -> pb2.ModelMetadataResponse:
    """Return what a model takes and returns."""
    return pb2.ModelMetadataResponse(
        name=metadata.name,
        versions=metadata.versions,
        platform=metadata.platform,
        inputs=map(_tensor_metadata, metadata.inputs),
        outputs=map(_tensor_metadata, metadata.outputs),
    )


def _tensor_metadata(tensor: TensorMetadata) -> pb2.ModelMetadataResponse.TensorMetadata:
    return pb2.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _tensor(message: pb2.ModelInferRequest, place: int) -> Tensor:
    given = message.inputs[place]
    return Tensor(given.name, given.datatype, list(given.shape[:_DIMENSIONS]), _values(message, given, place))


def _values(message: pb2.ModelInferRequest, given: Any, place: int) -> memoryview | Sequence[Any]:
    """Return the bytes of one input, little-endian, whichever way it was sent."""
    typed = given.contents.ListFields()
    if not message.raw_input_contents:
        return _typed(given, typed)
    if typed or len(message.raw_input_contents) != len(message.inputs):
        raise InvalidRequestError(
            f"Send raw_input_contents for all {len(message.inputs)} inputs and no `contents`, or `contents` alone; got "
            f"{len(message.raw_input_contents)} raw ones{' beside `contents`' if typed else ''}."
        )
    return memoryview(message.raw_input_contents[place])


def _typed(given: Any, typed: Any) -> memoryview | Sequence[Any]:
    field = _CONTENTS.get(given.datatype)
    if field is None:
        return ()  # the datatype itself is refused, with a sentence of its own
    wrong = [descriptor.name for descriptor, _ in typed if descriptor.name != field]
    if wrong:
        raise InvalidRequestError(f"Values of datatype {given.datatype} belong into `{field}`, got `{wrong[0]}`.")
    values: Sequence[Any] = getattr(given.contents, field)
    if len(values) != math.prod(given.shape[:_DIMENSIONS]):
        return values  # refused by their number, which bytes wouldn't tell
    return memoryview(np.fromiter(values, DATATYPES[given.datatype], len(values)).tobytes())
