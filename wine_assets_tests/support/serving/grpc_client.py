"""Unusual and invalid gRPC calls: `grpc_client.py FUNCTION ADDRESS < data.json` prints their results."""

import json
import sys
import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wine_assets.serving.grpc import open_inference_pb2 as pb2
from wine_assets.serving.grpc import open_inference_pb2_grpc

INFER = "/inference.GRPCInferenceService/ModelInfer"
SERVICE = "inference.GRPCInferenceService"
CALL_S = 60


class GrpcClient:
    """A connection, with methods for messages, for bytes, and for messages that are sent later."""

    def __init__(self, address: str) -> None:
        channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
        self.channel = channel
        self.stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        self.health = health_pb2_grpc.HealthStub(channel)
        self.infer_bytes = channel.unary_unary(INFER)
        self.infer_stream = channel.stream_unary(INFER)

    def infer(self, row: Any, **changes: Any) -> str:
        """Return the status of a request with some changes."""
        return refusal(lambda: self.stub.ModelInfer(request(row, **changes), timeout=CALL_S))

    def send(self, content: bytes, **how: Any) -> str:
        """Return the status of a call with these bytes."""
        return refusal(lambda: self.infer_bytes(content, timeout=CALL_S, **how))

    def status(self, service: str = "") -> Any:
        """Return what the health protocol says."""
        return self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_S).status


def request(row: Any, **changes: Any) -> Any:
    """Return a request for one row."""
    tensor: dict[str, Any] = {"name": "features", "datatype": "FP32", "shape": [1, 13]}
    contents = changes.pop("contents", {"fp32_contents": row})
    tensor |= {key: changes.pop(key) for key in [*changes] if key in tensor}
    message = pb2.ModelInferRequest(**{"model_name": "wine", **changes})
    message.inputs.add(**tensor, contents=pb2.InferTensorContents(**contents))
    return message


def refusal(call: Any) -> str:
    """Return the status and the sentence that a call ends with; "OK" for one that is answered."""
    try:
        call()
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "OK"


def hostile(address: str, row: Any) -> dict[str, str]:
    """Ask what no client would."""
    client = GrpcClient(address)
    infer = client.infer
    path = pb2.ModelMetadataRequest(name="../../etc/passwd")
    return {
        "nothing": refusal(lambda: client.stub.ModelInfer(pb2.ModelInferRequest(model_name="wine"))),
        "NaN": infer(row, contents={"fp32_contents": [float("nan")] * 13}),
        "too large": infer(row, datatype="FP64", contents={"fp64_contents": [1e300] * 13}),
        "too few values": infer(row, contents={"fp32_contents": [1.0]}),
        "no values": infer(row, contents={}),
        "absurd shape": infer(row, shape=[2**62, 2**62]),
        "largest shape": infer(row, shape=[2**63 - 1, 13]),
        "negative shape": infer(row, shape=[-1, 13]),
        "many dimensions": infer(row, shape=[1] * 1_000_000),
        "a third dimension": infer(row, shape=[1, 13, 1]),
        "another datatype": infer(row, datatype="BYTES"),
        "values of another type": infer(row, contents={"int_contents": [1] * 13}),
        "raw and typed": infer(row, raw_input_contents=[b"\0" * 52]),
        "raw of another length": infer(row, contents={}, raw_input_contents=[b"\0" * 51]),
        "raw for another input": infer(row, contents={}, raw_input_contents=[b"\0" * 52] * 2),
        "raw NaN": infer(row, contents={}, raw_input_contents=[b"\xff" * 52]),
        "a name of another": infer(row, name="../features"),
        "an output twice": infer(row, outputs=[{"name": "label"}] * 2),
        "a path for a model": refusal(lambda: client.stub.ModelMetadata(path)),
        "too long": infer(row, contents={"fp32_contents": [1.0] * 3_000_000}),
        "good after all": infer(row),
    }


def wire(address: str, row: Any) -> dict[str, str]:
    """Send bytes that are no request, or one of more parts than there is a use for."""
    client, good = GrpcClient(address), request(row).SerializeToString()
    packed = b"\0" * 100_000_000
    some, many = (
        pb2.ModelInferRequest(parameters={str(i): pb2.InferParameter(bool_param=True) for i in range(count)})
        for count in (9, 99)
    )
    tensor = request(row)
    for number in range(99):
        tensor.inputs[0].parameters[str(number)].bool_param = True
    return {
        "a million inputs": client.send(good + b"\x2a\x00" * 1_000_000),
        "a million outputs": client.send(good + b"\x32\x00" * 1_000_000),
        "a million raw contents": client.send(good + b"\x3a\x00" * 1_000_000),
        "many parameters": client.send(good + many.SerializeToString()),
        "many parameters of an input": client.send(tensor.SerializeToString()),
        "some parameters": client.send(good + some.SerializeToString()),
        "an unknown field of each kind": client.send(
            good + b"\xf8\x07\x01" + b"\xf9\x07" + b"\0" * 8 + b"\xfd\x07" + b"\0" * 4
        ),
        "no message that there is": client.send(b"\xff" * 100),
        "a group": client.send(b"\x53" * 100),
        "half a message": client.send(good[:-10]),
        "a text that is none": client.send(b"\x0a\x02\xff\xfe"),
        "a large one packed small": client.send(packed, compression=grpc.Compression.Gzip),
        "a small one packed": client.send(good, compression=grpc.Compression.Gzip),
        "no message": refusal(lambda: client.infer_stream(iter(()), timeout=CALL_S)),
        "a method that there is not": refusal(lambda: client.channel.unary_unary(f"/{SERVICE}/Nothing")(b"")),
        "a service that there is not": refusal(lambda: list(client.channel.stream_stream("/Nothing/x")(iter([b""])))),
        "good after all": client.send(good),
    }


def health(address: str, token: Any) -> dict[str, Any]:
    """Ask as Kubernetes does, then without a token, with one, and with another."""
    client = GrpcClient(address)
    stub, bearer = client.stub, [("authorization", f"Bearer {token}")]
    row = [1.0] * 13
    server = pb2.ServerMetadataRequest()
    return {
        "server": client.status(),
        "service": client.status(SERVICE),
        "other": refusal(lambda: client.status("other")),
        "live": stub.ServerLive(pb2.ServerLiveRequest()).live,
        "ready": stub.ServerReady(pb2.ServerReadyRequest()).ready,
        "without": {
            "ServerMetadata": refusal(lambda: stub.ServerMetadata(server)),
            "ModelReady": refusal(lambda: stub.ModelReady(pb2.ModelReadyRequest(name="wine"))),
            "ModelMetadata": refusal(lambda: stub.ModelMetadata(pb2.ModelMetadataRequest(name="wine"))),
            "ModelInfer": client.infer(row),
            "ModelInfer, before its message": refusal(lambda: client.infer_stream(_never(), timeout=CALL_S)),
        },
        "with another": refusal(lambda: stub.ServerMetadata(server, metadata=[("authorization", "Bearer x")])),
        "with the token": refusal(lambda: stub.ServerMetadata(server, metadata=bearer)),
        "model": stub.ModelReady(pb2.ModelReadyRequest(name="wine"), metadata=bearer).ready,
        "metadata": refusal(lambda: stub.ModelMetadata(pb2.ModelMetadataRequest(name="wine"), metadata=bearer)),
        "infer": refusal(lambda: stub.ModelInfer(request(row), metadata=bearer)),
    }


def good(address: str, row: Any) -> str:
    """Ask for one row."""
    return GrpcClient(address).infer(row)


def large(address: str, _: Any) -> str:
    """Send a message that is too large."""
    return GrpcClient(address).send(b"\0" * 5_000_000)


def traced(address: str, given: Any) -> list[str]:
    """Ask for one row as a part of a trace, for a model that there is not, and without values; and whether it's ready.

    Then cancel a call.
    """
    client, good = GrpcClient(address), request(given["row"])
    client.stub.ServerReady(pb2.ServerReadyRequest(), timeout=CALL_S)
    left = client.infer_stream.future(_never(), timeout=CALL_S)
    answers = [
        refusal(lambda: client.stub.ModelInfer(good, timeout=CALL_S, metadata=[("traceparent", given["traceparent"])])),
        client.infer(given["row"], model_name="secret"),
        client.infer(given["row"], contents={}),
    ]
    left.cancel()
    return answers


def silent(address: str, _: Any) -> str:
    """Make a call whose message never comes."""
    return refusal(lambda: GrpcClient(address).infer_stream(_never(), timeout=CALL_S))


def slow(address: str, given: Any) -> dict[str, str]:
    """Begin calls whose messages don't come, and one more when a second line was read; then ask for one row."""
    client, now = GrpcClient(address), Event()
    calls = [client.infer_stream.future(_later(now, b""), timeout=CALL_S) for _ in range(given["calls"])]
    sys.stdin.readline()
    one_more = refusal(lambda: client.infer_stream(_never(), timeout=CALL_S))
    waits = [call for call in calls if not call.done()]
    answers = {"one more": one_more, "a good one": client.infer(given["row"]), "that wait": str(len(waits))}
    now.set()
    return answers


def waiting(address: str, given: Any) -> list[str]:
    """Begin calls, and send their messages when the server has said that it drains, and a second line was read."""
    client, now = GrpcClient(address), Event()
    content = request(given["row"]).SerializeToString()
    calls = [client.infer_stream.future(_later(now, content), timeout=CALL_S) for _ in range(given["calls"])]
    while client.status() != health_pb2.HealthCheckResponse.NOT_SERVING:
        time.sleep(0.01)
    print(json.dumps("draining"), flush=True)  # noqa: T201 - an answer
    sys.stdin.readline()
    now.set()
    return [refusal(call.result) for call in calls]


def crowded(address: str, given: Any) -> dict[str, str]:
    """Begin as many calls as may be, and one more when a second line was read; then let them end."""
    client, now = GrpcClient(address), Event()
    content = request(given["row"]).SerializeToString()
    calls = [client.infer_stream.future(_later(now, content), timeout=CALL_S) for _ in range(given["calls"])]
    sys.stdin.readline()
    one_more = client.send(content)
    now.set()
    ended = {refusal(call.result) for call in calls}
    return {"one more": one_more, "those that began": ", ".join(ended), "afterwards": client.send(content)}


def _later(now: Event, content: bytes) -> Iterator[bytes]:
    now.wait(CALL_S)
    yield content


def _never() -> Iterator[bytes]:
    yield from _later(Event(), b"")


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2], json.loads(sys.stdin.readline()))))  # noqa: T201 - its answer
