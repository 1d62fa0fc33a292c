"""NVIDIA's client over HTTP and gRPC: `clients_triton.py TRANSPORT ADDRESS < rows.json` prints what it found."""

import importlib
import itertools
import json
import sys
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

PACKINGS = (None, "gzip", "deflate")


class Asking:
    """The two transports have the same methods, and answer some of them with other types."""

    def __init__(self, transport: str, address: str) -> None:
        self.transport = importlib.import_module(f"tritonclient.{transport}")
        self.client = self.transport.InferenceServerClient(address)
        self.is_http = transport == "http"

    def tensor(self, rows: Any, **how: Any) -> Any:
        """Return the input."""
        made = self.transport.InferInput("features", list(np.shape(rows)), "FP32")
        made.set_data_from_numpy(np.asarray(rows, dtype=np.float32), **how)
        return made

    def output(self, name: str) -> Any:
        """Return an output that is wanted."""
        return self.transport.InferRequestedOutput(name)

    def field(self, answer: Any, name: str) -> Any:
        """Return a field of an object of HTTP's JSON, or of gRPC's messages."""
        return answer[name] if self.is_http else getattr(answer, name)

    def ways(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Return the ways in which a request can be sent: how its values are, and how it is packed."""
        if not self.is_http:
            return {f"packed: {packing}": ({}, {"compression_algorithm": packing}) for packing in PACKINGS}
        return {
            f"as bytes: {binary}, packed: {sent}, answer packed: {answered}": (
                {"binary_data": binary},
                {"request_compression_algorithm": sent, "response_compression_algorithm": answered},
            )
            for binary, sent, answered in itertools.product((True, False), PACKINGS, PACKINGS)
        }

    def answer(self, rows: Any, sent: dict[str, Any], packed: dict[str, Any]) -> dict[str, Any]:
        """Return what the model answers."""
        result = self.client.infer("wine", [self.tensor(rows, **sent)], request_id="mine", **packed)
        response = result.get_response()
        return {
            "labels": result.as_numpy("label").tolist(),
            "probabilities": result.as_numpy("probabilities").tolist(),
            "id": self.field(response, "id"),
            "version": self.field(response, "model_version"),
        }

    def refusal(self, model: str, rows: Any, **more: Any) -> str:
        """Return what the client's user reads."""
        try:
            self.client.infer(model, [self.tensor(rows)], **more)
        except InferenceServerException as error:
            return str(error)
        return "no refusal"


def main(transport: str, address: str, rows: Any) -> dict[str, Any]:
    """Return what the client found."""
    asking = Asking(transport, address)
    client, field = asking.client, asking.field
    limited = client.infer("wine", [asking.tensor(rows)], model_version="2", outputs=[asking.output("label")])
    metadata = client.get_model_metadata("wine")
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model ready": client.is_model_ready("wine", "2"),
        "other model ready": client.is_model_ready("beer"),
        "server": field(client.get_server_metadata(), "name"),
        "versions": list(field(metadata, "versions")),
        "inputs": [
            [field(i, "name"), field(i, "datatype"), *map(int, field(i, "shape"))] for i in field(metadata, "inputs")
        ],
        "outputs": [field(output, "name") for output in field(metadata, "outputs")],
        "limited": [field(output, "name") for output in field(limited.get_response(), "outputs")],
        "answers": {name: asking.answer(rows, *way) for name, way in asking.ways().items()},
        "unknown model": asking.refusal("beer", rows),
        "unknown version": asking.refusal("wine", rows, model_version="9"),
        "unknown output": asking.refusal("wine", rows, outputs=[asking.output("x")]),
        "bad shape": asking.refusal("wine", [[1.0, 2.0, 3.0]]),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.load(sys.stdin))))  # noqa: T201 - its answer
