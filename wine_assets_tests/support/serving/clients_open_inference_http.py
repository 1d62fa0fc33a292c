"""The protocol's own client over HTTP: `clients_open_inference_http.py ADDRESS < rows.json` prints what it found."""

import json
import sys
from collections.abc import Callable
from typing import Any

from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest

FINE = "no refusal"
DATATYPES = ("FP32", "FP64", "INT32", "INT64")


def request(rows: Any, datatype: str = "FP32", **more: Any) -> InferenceRequest:
    """Return an inference request, whose values are rounded where their datatype asks for it."""
    flat = [value if datatype.startswith("FP") else round(value) for row in rows for value in row]
    tensor = {"name": "features", "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": flat}
    return InferenceRequest.parse_obj({"inputs": [tensor], **more})


def answer(given: Any) -> dict[str, Any]:
    """Return what the model answered."""
    decoded = json.loads(given.json())
    outputs = {output["name"]: output for output in decoded["outputs"]}
    width = outputs["probabilities"]["shape"][1]
    flat = outputs["probabilities"]["data"]
    return {
        "labels": outputs["label"]["data"],
        "probabilities": [flat[at : at + width] for at in range(0, len(flat), width)],
        "id": decoded["id"],
        "version": decoded["model_version"],
    }


def refusal(call: Callable[[], Any]) -> str:
    """Return what the client's user reads."""
    try:
        call()
    except ApiError as error:
        return str(error)
    return FINE


def main(address: str, rows: Any) -> dict[str, Any]:
    """Return what the client found."""
    client = OpenInferenceClient(base_url=f"http://{address}")
    metadata = client.read_model_metadata("wine")
    limited = client.model_version_infer("wine", "2", request=request(rows, outputs=[{"name": "label"}]))
    return {
        "live": refusal(client.check_server_liveness) == FINE,
        "ready": refusal(client.check_server_readiness) == FINE,
        "model ready": refusal(lambda: client.check_model_version_readiness("wine", "2")) == FINE,
        "other model ready": refusal(lambda: client.check_model_readiness("beer")) == FINE,
        "server": client.read_server_metadata().name,
        "versions": metadata.versions,
        "inputs": [[tensor.name, tensor.datatype, *tensor.shape] for tensor in metadata.inputs or ()],
        "outputs": [tensor.name for tensor in metadata.outputs or ()],
        "limited": [output.name for output in limited.outputs],
        "answers": {
            name: answer(client.model_infer("wine", request=request(rows, name, id="mine"))) for name in DATATYPES
        },
        "unknown model": refusal(lambda: client.model_infer("beer", request=request(rows))),
        "unknown version": refusal(lambda: client.model_version_infer("wine", "9", request=request(rows))),
        "unknown output": refusal(lambda: client.model_infer("wine", request=request(rows, outputs=[{"name": "x"}]))),
        "bad shape": refusal(lambda: client.model_infer("wine", request=request([[1.0, 2.0, 3.0]]))),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))  # noqa: T201 - its answer
