"""A client of gRPC as a process of its own, because every client brings its own copy of the protocol's messages.

    python -m wine_assets_tests.serving.grpc_asking CLIENT ADDRESS < rows.json

CLIENT is a function below; what it found is printed as JSON.
"""

import json
import sys
from typing import Any


def tritonclient(address: str, rows: Any) -> dict[str, Any]:
    """NVIDIA's client, which sends and expects bytes."""
    import numpy as np
    from tritonclient import grpc  # type: ignore[import-untyped]

    client = grpc.InferenceServerClient(address)
    tensor = grpc.InferInput("features", [len(rows), 13], "FP32")
    tensor.set_data_from_numpy(np.asarray(rows, dtype=np.float32))
    both = client.infer("wine", [tensor], request_id="mine")
    wanted = [grpc.InferRequestedOutput("label")]
    one = client.infer("wine", [tensor], model_version="1", outputs=wanted)
    narrow = grpc.InferInput("features", [1, 3], "FP32")
    narrow.set_data_from_numpy(np.ones((1, 3), dtype=np.float32))
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "models": [
            client.is_model_ready(name, version) for name, version in (("wine", ""), ("wine", "2"), ("beer", ""))
        ],
        "server": client.get_server_metadata().name,
        "inputs": [(i.name, i.datatype, list(i.shape)) for i in client.get_model_metadata("wine").inputs],
        "labels": both.as_numpy("label").tolist(),
        "probabilities": both.as_numpy("probabilities").tolist(),
        "id": both.get_response().id,
        "version": both.get_response().model_version,
        "limited": [output.name for output in one.get_response().outputs],
        "unknown model": _refusal(lambda: client.infer("beer", [tensor])),
        "unknown version": _refusal(lambda: client.infer("wine", [tensor], model_version="9")),
        "unknown output": _refusal(lambda: client.infer("wine", [tensor], outputs=[grpc.InferRequestedOutput("x")])),
        "bad shape": _refusal(lambda: client.infer("wine", [narrow])),
    }


def open_inference(address: str, rows: Any) -> dict[str, Any]:
    """The protocol's own client, which sends typed values, and here in every datatype."""
    import grpc
    from open_inference.grpc import protocol as messages
    from open_inference.grpc import service

    stub = service.GRPCInferenceServiceStub(grpc.insecure_channel(address))  # type: ignore[no-untyped-call]
    flat = [value for row in rows for value in row]
    fields = {"FP32": "fp32_contents", "FP64": "fp64_contents", "INT32": "int_contents", "INT64": "int64_contents"}
    answers = {}
    for datatype, field in fields.items():
        values = flat if datatype.startswith("FP") else [round(value) for value in flat]
        request = messages.ModelInferRequest(model_name="wine", id=datatype)
        tensor = request.inputs.add(name="features", datatype=datatype, shape=[len(rows), 13])
        getattr(tensor.contents, field).extend(values)
        answer = stub.ModelInfer(request)
        outputs = {output.name: output.contents for output in answer.outputs}
        answers[datatype] = {
            "labels": list(outputs["label"].int64_contents),
            "probabilities": list(outputs["probabilities"].fp32_contents),
            "raw": len(answer.raw_output_contents),
            "id": answer.id,
        }
    return answers


def hostile(address: str, rows: Any) -> dict[str, str]:
    """Requests that no client would send."""
    import grpc

    from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
    from wine_assets.serving.grpc_api import open_inference_pb2_grpc

    stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address))  # type: ignore[no-untyped-call]

    def ask(**changes: Any) -> str:
        tensor: dict[str, Any] = {"name": "features", "datatype": "FP32", "shape": [1, 13]}
        contents = changes.pop("contents", {"fp32_contents": rows[0]})
        tensor |= {key: changes.pop(key) for key in [*changes] if key in tensor}
        message = pb2.ModelInferRequest(model_name="wine", **changes)
        message.inputs.add(**tensor, contents=pb2.InferTensorContents(**contents))
        return _refusal(lambda: stub.ModelInfer(message))

    return {
        "nothing": _refusal(lambda: stub.ModelInfer(pb2.ModelInferRequest(model_name="wine"))),
        "NaN": ask(contents={"fp32_contents": [float("nan")] * 13}),
        "too large": ask(datatype="FP64", contents={"fp64_contents": [1e300] * 13}),
        "too few values": ask(contents={"fp32_contents": [1.0]}),
        "absurd shape": ask(shape=[2**62, 2**62]),
        "negative shape": ask(shape=[-1, 13]),
        "another datatype": ask(datatype="BYTES"),
        "values of another type": ask(contents={"int_contents": [1] * 13}),
        "raw and typed": ask(raw_input_contents=[b"\0" * 52]),
        "raw of another length": ask(contents={}, raw_input_contents=[b"\0" * 51]),
        "raw for another input": ask(contents={}, raw_input_contents=[b"\0" * 52] * 2),
        "a name of another": ask(name="../features"),
        "a thousand outputs": ask(outputs=[{"name": "label"}] * 1_000),
        "a path for a model": _refusal(lambda: stub.ModelMetadata(pb2.ModelMetadataRequest(name="../../etc/passwd"))),
        "too long": ask(contents={"fp32_contents": [1.0] * 3_000_000}),
        "good after all": ask(),
    }


def health(address: str, rows: Any) -> dict[str, Any]:
    """Kubernetes' way of asking, then a call without a token and with one; `rows` is the token."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from wine_assets.serving.grpc_api import open_inference_pb2 as pb2
    from wine_assets.serving.grpc_api import open_inference_pb2_grpc

    channel = grpc.insecure_channel(address)
    asked = health_pb2_grpc.HealthStub(channel)
    stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]

    def check(service: str) -> Any:
        return asked.Check(health_pb2.HealthCheckRequest(service=service))

    token = [("authorization", f"Bearer {rows}")]
    return {
        "server": check("").status,
        "service": check("inference.GRPCInferenceService").status,
        "other": _refusal(lambda: check("other")),
        "live": stub.ServerLive(pb2.ServerLiveRequest()).live,
        "ready": stub.ServerReady(pb2.ServerReadyRequest()).ready,
        "model": _refusal(lambda: stub.ModelReady(pb2.ModelReadyRequest(name="wine"))),
        "with the token": _refusal(lambda: stub.ServerMetadata(pb2.ServerMetadataRequest(), metadata=token)),
        "with another": _refusal(
            lambda: stub.ServerMetadata(pb2.ServerMetadataRequest(), metadata=[("authorization", "Bearer x")])
        ),
    }


def _refusal(call: Any) -> str:
    """Return the status and the sentence that a call ends with; "OK" for one that is answered."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - each client has its own
        status = error.status() if hasattr(error, "status") else error.code()  # type: ignore[attr-defined]
        message = error.message() if hasattr(error, "message") else error.details()  # type: ignore[attr-defined]
        return f"{str(status).removeprefix('StatusCode.')}: {message}"
    return "OK"


if __name__ == "__main__":
    client, server = sys.argv[1:]
    print(json.dumps(globals()[client](server, json.load(sys.stdin))))  # noqa: T201 - its answer
