"""The protocol's own client over gRPC: `clients_open_inference_grpc.py ADDRESS < rows.json` prints what it found."""

import json
import sys
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from open_inference.grpc import protocol as messages
from open_inference.grpc import service

FIELDS = {"FP32": "fp32_contents", "FP64": "fp64_contents", "INT32": "int_contents", "INT64": "int64_contents"}
DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8"}
RAW = "raw "


def request(rows: Any, way: str = "FP32", *outputs: str, **more: Any) -> Any:
    """Return an inference request, raw or typed, whose values are rounded where their datatype asks for it."""
    datatype = way.removeprefix(RAW)
    made = messages.ModelInferRequest(**{"model_name": "wine", **more})
    tensor = made.inputs.add(name="features", datatype=datatype, shape=np.shape(rows))
    values = np.asarray(rows if datatype.startswith("FP") else np.rint(rows), dtype=DTYPES[datatype])
    if way.startswith(RAW):
        made.raw_input_contents.append(values.tobytes())
    else:
        getattr(tensor.contents, FIELDS[datatype]).extend(values.ravel().tolist())
    for name in outputs:
        made.outputs.add(name=name)
    return made


def answer(given: Any) -> dict[str, Any]:
    """Return what the model answered."""
    values = {}
    for at, output in enumerate(given.outputs):
        if given.raw_output_contents:
            flat = np.frombuffer(given.raw_output_contents[at], dtype=DTYPES[output.datatype])
        else:
            flat = np.array(getattr(output.contents, FIELDS[output.datatype]))
        values[output.name] = flat.reshape(output.shape).tolist()
    return {
        "labels": values["label"],
        "probabilities": values["probabilities"],
        "id": given.id,
        "version": given.model_version,
        "raw": len(given.raw_output_contents),
    }


def refusal(call: Callable[[], Any]) -> str:
    """Return what the client's user reads."""
    try:
        call()
    except grpc.RpcError as error:
        return f"[{error.code()}] {error.details()}"
    return "no refusal"


def main(address: str, rows: Any) -> dict[str, Any]:
    """Return what the client found."""
    stub = service.GRPCInferenceServiceStub(grpc.insecure_channel(address))  # type: ignore[no-untyped-call]
    metadata = stub.ModelMetadata(messages.ModelMetadataRequest(name="wine"))
    limited = stub.ModelInfer(request(rows, "FP32", "label", model_version="2"))
    ways = [*FIELDS, *(RAW + name for name in FIELDS)]
    return {
        "live": stub.ServerLive(messages.ServerLiveRequest()).live,
        "ready": stub.ServerReady(messages.ServerReadyRequest()).ready,
        "model ready": stub.ModelReady(messages.ModelReadyRequest(name="wine", version="2")).ready,
        "other model ready": stub.ModelReady(messages.ModelReadyRequest(name="beer")).ready,
        "server": stub.ServerMetadata(messages.ServerMetadataRequest()).name,
        "versions": list(metadata.versions),
        "inputs": [[tensor.name, tensor.datatype, *tensor.shape] for tensor in metadata.inputs],
        "outputs": [tensor.name for tensor in metadata.outputs],
        "limited": [output.name for output in limited.outputs],
        "answers": {way: answer(stub.ModelInfer(request(rows, way, id="mine"))) for way in ways},
        "unknown model": refusal(lambda: stub.ModelInfer(request(rows, model_name="beer"))),
        "unknown version": refusal(lambda: stub.ModelInfer(request(rows, model_version="9"))),
        "unknown output": refusal(lambda: stub.ModelInfer(request(rows, "FP32", "x"))),
        "bad shape": refusal(lambda: stub.ModelInfer(request([[1.0, 2.0, 3.0]]))),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))  # noqa: T201 - its answer
