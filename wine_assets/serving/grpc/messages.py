"""Conversion between the data plane's requests and results and the gRPC messages of the protocol."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wine_assets.inference.predictor import LABEL
from wine_assets.serving.data_plane import InferenceResult, ModelMetadata, Request, TensorMetadata
from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.tensors import DATATYPES, Tensor

_CONTENTS = {"FP32": "fp32_contents", "FP64": "fp64_contents", "INT32": "int_contents", "INT64": "int64_contents"}
_DIMENSIONS = 5
"""Dimensions of a shape that are converted: one more than an error message quotes."""


def request_of(message: pb2.ModelInferRequest) -> Request:
    """Return an inference request; raise InvalidRequestError if raw contents and inputs don't match."""
    return Request(
        [_tensor(message, place) for place in range(len(message.inputs))],
        [output.name for output in message.outputs],
        message.id,
    )


def is_raw(message: pb2.ModelInferRequest) -> bool:
    """Return whether the inputs are raw bytes, so that the outputs have to be too."""
    return bool(message.raw_input_contents)


def response_of(result: InferenceResult, *, raw: bool) -> pb2.ModelInferResponse:
    """Return the message of a result, with its values as little-endian bytes or typed."""
    response = pb2.ModelInferResponse(model_name=result.model.name, model_version=result.model.version, id=result.id)
    for name in result.outputs:
        values = result.values(name)
        datatype = "INT64" if name == LABEL else "FP32"
        output = response.outputs.add(name=name, datatype=datatype, shape=values.shape)
        if raw:
            response.raw_output_contents.append(values.astype(DATATYPES[datatype], copy=False).tobytes())
        else:
            getattr(output.contents, _CONTENTS[datatype]).extend(values.ravel().tolist())
    return response


def metadata_of(metadata: ModelMetadata) -> pb2.ModelMetadataResponse:
    """Return the message of a model's inputs and outputs."""
    return pb2.ModelMetadataResponse(
        name=metadata.name,
        versions=metadata.versions,
        platform=metadata.platform,
        inputs=map(_tensor_metadata, metadata.inputs),
        outputs=map(_tensor_metadata, metadata.outputs),
    )


def _tensor_metadata(tensor: TensorMetadata) -> pb2.ModelMetadataResponse.TensorMetadata:
    return pb2.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _tensor(message: pb2.ModelInferRequest, index: int) -> Tensor:
    """Return an input, whose values are little-endian bytes if they are valid."""
    tensor = message.inputs[index]
    fields = tensor.contents.ListFields()
    if message.raw_input_contents:
        if fields or len(message.raw_input_contents) != len(message.inputs):
            raise InvalidRequestError(
                f"Send raw_input_contents for all {len(message.inputs)} inputs and no `contents`, or `contents` alone; "
                f"got {len(message.raw_input_contents)} raw ones{' beside `contents`' if fields else ''}."
            )
        values: memoryview | Sequence[Any] = memoryview(message.raw_input_contents[index])
    else:
        values = _typed_values(tensor, [descriptor.name for descriptor, _ in fields])
    return Tensor(tensor.name, tensor.datatype, list(tensor.shape[:_DIMENSIONS]), values)


def _typed_values(tensor: Any, fields: Sequence[str]) -> memoryview | Sequence[Any]:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        return ()  # the data plane reports the unknown datatype
    wrong = [name for name in fields if name != field]
    if wrong:
        raise InvalidRequestError(f"Values of datatype {tensor.datatype} belong into `{field}`, got `{wrong[0]}`.")
    values: Sequence[Any] = getattr(tensor.contents, field)
    if len(values) != math.prod(tensor.shape[:_DIMENSIONS]):
        return values  # the data plane reports their number
    return memoryview(np.fromiter(values, DATATYPES[tensor.datatype], len(values)).tobytes())
