"""KServe's client over HTTP and gRPC: `clients_kserve.py TRANSPORT ADDRESS < rows.json` prints what it found."""

import asyncio
import json
import sys
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import RequestedOutput  # type: ignore[import-not-found]


class OverHttp:
    """Its client of REST."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"
        self._client = InferenceRESTClient(RESTConfig(protocol="v2"))

    async def live(self) -> bool:
        """Whether the server is."""
        return bool(await self._client.is_server_live(self._url))

    async def ready(self) -> bool:
        """Whether the server is."""
        return bool(await self._client.is_server_ready(self._url))

    async def model_ready(self, model: str) -> bool:
        """Whether a model is."""
        return bool(await self._client.is_model_ready(self._url, model))

    async def infer(self, request: Any) -> Any:
        """Ask the model."""
        return await self._client.infer(self._url, request, model_name=request.model_name)


class OverGrpc:
    """Its client of gRPC."""

    def __init__(self, address: str) -> None:
        self._client = InferenceGRPCClient(address)

    async def live(self) -> bool:
        """Whether the server is."""
        return bool(await self._client.is_server_live())

    async def ready(self) -> bool:
        """Whether the server is."""
        return bool(await self._client.is_server_ready())

    async def model_ready(self, model: str) -> bool:
        """Whether a model is."""
        return bool(await self._client.is_model_ready(model))

    async def infer(self, request: Any) -> Any:
        """Ask the model."""
        return await self._client.infer(request)


def tensor(rows: Any, way: str) -> Any:
    """Return the input, with its values as numbers, or as bytes."""
    made = InferInput("features", list(np.shape(rows)), "FP32")
    made.set_data_from_numpy(np.asarray(rows, dtype=np.float32), binary_data=way == "as bytes")
    return made


def request(rows: Any, way: str = "as numbers", model: str = "wine", **more: Any) -> Any:
    """Return an inference request."""
    return InferRequest(model_name=model, infer_inputs=[tensor(rows, way)], request_id="mine", **more)


def answer(given: Any) -> dict[str, Any]:
    """Return what the model answered."""
    outputs = {output.name: output.as_numpy() for output in given.outputs}
    return {
        "labels": outputs["label"].tolist(),
        "probabilities": outputs["probabilities"].tolist(),
        "id": given.id,
        "version": given.model_version,
    }


async def refusal(client: Any, asked: Any) -> str:
    """Return what the client's user reads."""
    try:
        await client.infer(asked)
    except (httpx.HTTPStatusError, grpc.RpcError) as error:
        return str(error)
    return "no refusal"


async def main(transport: str, address: str, rows: Any) -> dict[str, Any]:
    """Return what the client found; it has no way to ask for metadata or for a version."""
    client: Any = {"http": OverHttp, "grpc": OverGrpc}[transport](address)
    limited = await client.infer(request(rows, request_outputs=[RequestedOutput("label")]))
    return {
        "live": await client.live(),
        "ready": await client.ready(),
        "model ready": await client.model_ready("wine"),
        "other model ready": await client.model_ready("beer"),
        "limited": [output.name for output in limited.outputs],
        "answers": {way: answer(await client.infer(request(rows, way))) for way in ("as numbers", "as bytes")},
        "unknown model": await refusal(client, request(rows, model="beer")),
        "unknown output": await refusal(client, request(rows, request_outputs=[RequestedOutput("x")])),
        "bad shape": await refusal(client, request([[1.0, 2.0, 3.0]])),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], json.load(sys.stdin)))))  # noqa: T201 - its answer
