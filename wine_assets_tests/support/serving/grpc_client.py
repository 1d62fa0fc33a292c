"""Calls that clients of others don't make: `grpc_client.py WHAT ADDRESS < given.json` prints what came of them."""

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


class Asking:
    """A connection, with its methods for messages, for bytes, and for messages that are sent later."""

    def __init__(self, address: str) -> None:
        channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
        self.channel = channel
        self.stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        self.health = health_pb2_grpc.HealthStub(channel)
        self.bare = channel.unary_unary(INFER)
        self.streamed = channel.stream_unary(INFER)

    def infer(self, row: Any, **changes: Any) -> str:
        """Return how a request ends of which something is changed."""
        return refusal(lambda: self.stub.ModelInfer(request(row, **changes), timeout=CALL_S))

    def sent(self, content: bytes, **how: Any) -> str:
        """Return how bytes end that may be no request."""
        return refusal(lambda: self.bare(content, timeout=CALL_S, **how))

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
    asking = Asking(address)
    infer = asking.infer
    path = pb2.ModelMetadataRequest(name="../../etc/passwd")
    return {
        "nothing": refusal(lambda: asking.stub.ModelInfer(pb2.ModelInferRequest(model_name="wine"))),
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
        "a path for a model": refusal(lambda: asking.stub.ModelMetadata(path)),
        "too long": infer(row, contents={"fp32_contents": [1.0] * 3_000_000}),
        "good after all": infer(row),
    }


def wire(address: str, row: Any) -> dict[str, str]:
    """Send bytes that are no request, or one of more parts than there is a use for."""
    asking, good = Asking(address), request(row).SerializeToString()
    packed = b"\0" * 100_000_000
    some, many = (
        pb2.ModelInferRequest(parameters={str(i): pb2.InferParameter(bool_param=True) for i in range(count)})
        for count in (9, 99)
    )
    tensor = request(row)
    for number in range(99):
        tensor.inputs[0].parameters[str(number)].bool_param = True
    return {
        "a million inputs": asking.sent(good + b"\x2a\x00" * 1_000_000),
        "a million outputs": asking.sent(good + b"\x32\x00" * 1_000_000),
        "a million raw contents": asking.sent(good + b"\x3a\x00" * 1_000_000),
        "many parameters": asking.sent(good + many.SerializeToString()),
        "many parameters of an input": asking.sent(tensor.SerializeToString()),
        "some parameters": asking.sent(good + some.SerializeToString()),
        "an unknown field of each kind": asking.sent(
            good + b"\xf8\x07\x01" + b"\xf9\x07" + b"\0" * 8 + b"\xfd\x07" + b"\0" * 4
        ),
        "no message that there is": asking.sent(b"\xff" * 100),
        "a group": asking.sent(b"\x53" * 100),
        "half a message": asking.sent(good[:-10]),
        "a text that is none": asking.sent(b"\x0a\x02\xff\xfe"),
        "a large one packed small": asking.sent(packed, compression=grpc.Compression.Gzip),
        "a small one packed": asking.sent(good, compression=grpc.Compression.Gzip),
        "no message": refusal(lambda: asking.streamed(iter(()), timeout=CALL_S)),
        "a method that there is not": refusal(lambda: asking.channel.unary_unary(f"/{SERVICE}/Nothing")(b"")),
        "a service that there is not": refusal(lambda: list(asking.channel.stream_stream("/Nothing/x")(iter([b""])))),
        "good after all": asking.sent(good),
    }


def health(address: str, token: Any) -> dict[str, Any]:
    """Ask as Kubernetes does, then without a token, with one, and with another."""
    asking = Asking(address)
    stub, bearer = asking.stub, [("authorization", f"Bearer {token}")]
    row = [1.0] * 13
    server = pb2.ServerMetadataRequest()
    return {
        "server": asking.status(),
        "service": asking.status(SERVICE),
        "other": refusal(lambda: asking.status("other")),
        "live": stub.ServerLive(pb2.ServerLiveRequest()).live,
        "ready": stub.ServerReady(pb2.ServerReadyRequest()).ready,
        "without": {
            "ServerMetadata": refusal(lambda: stub.ServerMetadata(server)),
            "ModelReady": refusal(lambda: stub.ModelReady(pb2.ModelReadyRequest(name="wine"))),
            "ModelMetadata": refusal(lambda: stub.ModelMetadata(pb2.ModelMetadataRequest(name="wine"))),
            "ModelInfer": asking.infer(row),
            "ModelInfer, before its message": refusal(lambda: asking.streamed(_never(), timeout=CALL_S)),
        },
        "with another": refusal(lambda: stub.ServerMetadata(server, metadata=[("authorization", "Bearer x")])),
        "with the token": refusal(lambda: stub.ServerMetadata(server, metadata=bearer)),
        "model": stub.ModelReady(pb2.ModelReadyRequest(name="wine"), metadata=bearer).ready,
        "metadata": refusal(lambda: stub.ModelMetadata(pb2.ModelMetadataRequest(name="wine"), metadata=bearer)),
        "infer": refusal(lambda: stub.ModelInfer(request(row), metadata=bearer)),
    }


def good(address: str, row: Any) -> str:
    """Ask for one row."""
    return Asking(address).infer(row)


def large(address: str, _: Any) -> str:
    """Send a message that is too large."""
    return Asking(address).sent(b"\0" * 5_000_000)


def traced(address: str, given: Any) -> list[str]:
    """Ask for one row as a part of a trace, for a model that there is not, and without values; and whether it's ready.

    Then cancel a call.
    """
    asking, good = Asking(address), request(given["row"])
    asking.stub.ServerReady(pb2.ServerReadyRequest(), timeout=CALL_S)
    left = asking.streamed.future(_never(), timeout=CALL_S)
    answers = [
        refusal(lambda: asking.stub.ModelInfer(good, timeout=CALL_S, metadata=[("traceparent", given["traceparent"])])),
        asking.infer(given["row"], model_name="secret"),
        asking.infer(given["row"], contents={}),
    ]
    left.cancel()
    return answers


def silent(address: str, _: Any) -> str:
    """Make a call whose message never comes."""
    return refusal(lambda: Asking(address).streamed(_never(), timeout=CALL_S))


def slow(address: str, given: Any) -> dict[str, str]:
    """Begin calls whose messages don't come, and one more when a second line was read; then ask for one row."""
    asking, now = Asking(address), Event()
    calls = [asking.streamed.future(_later(now, b""), timeout=CALL_S) for _ in range(given["calls"])]
    sys.stdin.readline()
    one_more = refusal(lambda: asking.streamed(_never(), timeout=CALL_S))
    waits = [call for call in calls if not call.done()]
    answers = {"one more": one_more, "a good one": asking.infer(given["row"]), "that wait": str(len(waits))}
    now.set()
    return answers


def waiting(address: str, given: Any) -> list[str]:
    """Begin calls, and send their messages when the server has said that it drains, and a second line was read."""
    asking, now = Asking(address), Event()
    content = request(given["row"]).SerializeToString()
    calls = [asking.streamed.future(_later(now, content), timeout=CALL_S) for _ in range(given["calls"])]
    while asking.status() != health_pb2.HealthCheckResponse.NOT_SERVING:
        time.sleep(0.01)
    print(json.dumps("draining"), flush=True)  # noqa: T201 - an answer
    sys.stdin.readline()
    now.set()
    return [refusal(call.result) for call in calls]


def crowded(address: str, given: Any) -> dict[str, str]:
    """Begin as many calls as may be, and one more when a second line was read; then let them end."""
    asking, now = Asking(address), Event()
    content = request(given["row"]).SerializeToString()
    calls = [asking.streamed.future(_later(now, content), timeout=CALL_S) for _ in range(given["calls"])]
    sys.stdin.readline()
    one_more = asking.sent(content)
    now.set()
    ended = {refusal(call.result) for call in calls}
    return {"one more": one_more, "those that began": ", ".join(ended), "afterwards": asking.sent(content)}


def _later(now: Event, content: bytes) -> Iterator[bytes]:
    now.wait(CALL_S)
    yield content


def _never() -> Iterator[bytes]:
    yield from _later(Event(), b"")


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2], json.loads(sys.stdin.readline()))))  # noqa: T201 - its answer
