"""The load that gRPC servers are put under: 16 callers on one connection that send one message again and again."""

import asyncio
import statistics
import struct
import time
from dataclasses import dataclass
from typing import Any

import measure
from http_load import CONNECTIONS, SECONDS, Served
from http_serving import ROW
from server_process import ServerProcess

METHOD = "/inference.GRPCInferenceService/ModelInfer"
TYPED, RAW = "typed", "raw"


@dataclass(frozen=True)
class Ask:
    """A message that is sent again and again: equal rows, as typed values or as bytes."""

    server: ServerProcess
    rows: int
    kind: str
    output: str = ""
    """The output that is wanted; all when it's empty."""

    def once(self) -> list[float]:
        """Return the probabilities that it is answered with."""
        answer: list[float] = self._ask("once")
        return answer

    def again(self) -> dict[str, float]:
        """Send it for some seconds, and return how many calls were answered in how many seconds, and latencies."""
        measured: dict[str, float] = self._ask("again")
        return measured

    def _ask(self, child: str) -> Any:
        address = f"127.0.0.1:{self.server.grpc_port}"
        return measure.ask_child(__file__, child, address, str(self.rows), self.kind, self.output)


def put_under_load(ask: Ask) -> Served:
    """Send a message for some seconds; fail unless all calls were answered."""
    before = ask.server.cpu_seconds()
    measured = ask.again()
    cpu = ask.server.cpu_seconds() - before
    thousands = measured["calls"] / 1000
    return Served(measured["seconds"] / thousands, cpu / thousands, measured["p50"], measured["p99"])


def once(address: str, rows: str, kind: str, output: str = "") -> list[float]:
    """Be a child that makes one call, and return the probabilities in the answer."""
    import grpc

    from wine_assets.serving.grpc import open_inference_pb2 as pb2

    with grpc.insecure_channel(address) as channel:
        answer = pb2.ModelInferResponse.FromString(channel.unary_unary(METHOD)(message(int(rows), kind, output)))
    return _probabilities(answer)


def again(address: str, rows: str, kind: str, output: str = "") -> dict[str, float]:
    """Be a child that makes calls for some seconds, of bytes for bytes, so that the client costs little."""
    return asyncio.run(_again(address, message(int(rows), kind, output)))


async def _again(address: str, content: bytes) -> dict[str, float]:
    import grpc

    latencies: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        began = time.perf_counter()

        async def caller() -> None:
            while (start := time.perf_counter()) < began + SECONDS:
                await call(content)
                latencies.append(time.perf_counter() - start)

        await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
        seconds = time.perf_counter() - began
    percentiles = statistics.quantiles(latencies, n=100)
    return {
        "calls": len(latencies),
        "seconds": seconds,
        "p50": percentiles[49] * 1000,
        "p99": percentiles[98] * 1000,
    }


def message(rows: int, kind: str, output: str) -> bytes:
    """Return a request for equal rows."""
    from wine_assets.serving.grpc import open_inference_pb2 as pb2

    request = pb2.ModelInferRequest(model_name="wine")
    tensor = request.inputs.add(name="features", datatype="FP32", shape=[rows, len(ROW)])
    if kind == RAW:
        request.raw_input_contents.append(struct.pack(f"<{len(ROW)}f", *ROW) * rows)
    else:
        tensor.contents.fp32_contents.extend(ROW * rows)
    if output:
        request.outputs.add(name=output)
    return request.SerializeToString()


def _probabilities(answer: Any) -> list[float]:
    """Return the values of the last output, which servers send as they like."""
    output = answer.outputs[-1]
    if not answer.raw_output_contents:
        return [*(output.contents.fp32_contents or output.contents.fp64_contents)]
    kind = {"FP32": "f", "FP64": "d"}[output.datatype]
    content = answer.raw_output_contents[-1]
    return [value for (value,) in struct.iter_unpack(f"<{kind}", content)]


if __name__ == "__main__":
    measure.script(lambda _: [], runs=1, children={"once": once, "again": again})
