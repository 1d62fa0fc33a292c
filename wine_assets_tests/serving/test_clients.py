"""Clients that others wrote."""

import json
from typing import Any

import numpy as np
import pytest

from wine_assets_tests.serving.models import expected, request, rows
from wine_assets_tests.serving.running import Running


@pytest.fixture
def triton(server: Running) -> Any:
    """Return NVIDIA's client, connected."""
    from tritonclient import http  # type: ignore[import-untyped]

    client = http.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def tensor(values: Any, how: str = "as bytes") -> Any:
    from tritonclient import http

    made = http.InferInput("features", list(values.shape), "FP32")
    made.set_data_from_numpy(values, binary_data=how == "as bytes")
    return made


def test_tritonclient_finds_the_server_and_the_model(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("wine")
    assert triton.is_model_ready("wine", "1")
    assert not triton.is_model_ready("wine", "2")
    assert triton.get_server_metadata()["name"] == "wine-assets"
    assert triton.get_model_metadata("wine")["versions"] == ["1"]


@pytest.mark.parametrize("how", ["as bytes", "as numbers"])
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_tritonclient_is_answered(how: str, packing: str | None, triton: Any) -> None:
    result = triton.infer(
        "wine",
        [tensor(rows(), how)],
        request_id="42",
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )
    labels, probabilities = expected(1)
    assert result.as_numpy("label").tolist() == labels
    assert result.as_numpy("label").dtype == np.int64
    np.testing.assert_allclose(result.as_numpy("probabilities"), probabilities, atol=1e-6)
    assert result.get_response()["id"] == "42"


@pytest.mark.parametrize("how", ["as bytes", "as numbers"])
def test_tritonclient_gets_the_outputs_that_it_asks_for(how: str, triton: Any) -> None:
    from tritonclient import http

    wanted = [http.InferRequestedOutput("probabilities", binary_data=how == "as bytes")]
    result = triton.infer("wine", [tensor(rows()[:3])], outputs=wanted)
    assert result.as_numpy("label") is None
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(1)[1][:3], atol=1e-6)


def test_tritonclient_reads_why_a_request_failed(triton: Any) -> None:
    from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

    with pytest.raises(InferenceServerException, match=r"must have the shape \[n, 13\]"):
        triton.infer("wine", [tensor(rows()[:, :3])])
    with pytest.raises(InferenceServerException, match=r"There is no model 'beer'"):
        triton.get_model_metadata("beer")


def test_the_client_that_the_protocol_comes_with_is_answered(server: Running) -> None:
    import httpx
    from open_inference.openapi.client import OpenInferenceClient
    from open_inference.openapi.types import InferenceRequest

    with httpx.Client() as connection:
        client = OpenInferenceClient(base_url=server.address, httpx_client=connection)
        client.check_server_liveness()
        client.check_server_readiness()
        client.check_model_version_readiness("wine", "1")
        assert client.read_server_metadata().name == "wine-assets"
        assert client.read_model_metadata("wine").versions == ["1"]
        asked = {"id": "7", "inputs": request(rows()[:5])["inputs"]}
        answer = json.loads(client.model_infer("wine", request=InferenceRequest.parse_obj(asked)).json())
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("wine", "1", "7")
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["label"] == expected(1)[0][:5]
