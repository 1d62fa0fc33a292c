"""The description of the routes, and whether the server keeps to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.serving.models import promote
from wine_assets_tests.support.serving.server_process import Client, ServerProcess, run_server

EXAMPLES, SOAK_EXAMPLES, TOKEN_EXAMPLES = 8, 400, 2
ROUTES = {
    "/": "get",
    "/docs": "get",
    "/openapi.json": "get",
    "/metrics": "get",
    "/predict": "post",
    "/v2": "get",
    "/v2/health/live": "get",
    "/v2/health/ready": "get",
    "/v2/models/{model_name}": "get",
    "/v2/models/{model_name}/ready": "get",
    "/v2/models/{model_name}/infer": "post",
    "/v2/models/{model_name}/versions/{model_version}": "get",
    "/v2/models/{model_name}/versions/{model_version}/ready": "get",
    "/v2/models/{model_name}/versions/{model_version}/infer": "post",
}


def test_every_route_is_described(client: Client) -> None:
    described = client.get("/openapi.json").json
    assert described["openapi"].startswith("3.1")
    found = {path: next(key for key in item if key != "parameters") for path, item in described["paths"].items()}
    assert found == ROUTES
    for path, method in ROUTES.items():
        responses = described["paths"][path][method]["responses"]
        assert {"200", "400", "401", "405", "503"} <= responses.keys()


def test_openapi_names_the_model_features(own: ServerProcess, repository: ModelRepository) -> None:
    """The description names the features and the version of the loaded model."""
    schemas = own.get("/openapi.json").json["components"]["schemas"]
    assert "alcohol" in schemas["Row"]["required"]
    promote(repository, 2)
    own.wait_for_version(2)
    version = own.get("/openapi.json").json["paths"]["/v2/models/{model_name}/versions/{model_version}"]
    assert version["parameters"][1]["schema"]["enum"] == ["2"]


def _explore(server: ServerProcess, folder: Path, examples: int, *more: str) -> str:
    """Have schemathesis ask all that the description allows, and all that it forbids; return what it said."""
    program = str(Path(sys.executable).with_name("schemathesis"))
    flags = ["--checks", "all", "--seed", "20240607", "--generation-database", "none", "--no-color"]
    done = subprocess.run(
        [program, "run", *(more or [f"{server.address}/openapi.json"]), *flags, "--max-examples", str(examples)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in server.log() if line["level"] == "error"] == []
    return done.stdout


def test_the_server_keeps_to_its_description(server: ServerProcess, tmp_path: Path) -> None:
    said = _explore(server, tmp_path, EXAMPLES)
    assert f"Tested: {len(ROUTES) - 1}" in said  # all but the description itself


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif("SOAK" not in os.environ, reason="takes minutes; `make soak` runs it")
def test_server_matches_openapi_in_many_cases(server: ServerProcess, tmp_path: Path) -> None:
    """The long form of `test_the_server_keeps_to_its_description`."""
    _explore(server, tmp_path, SOAK_EXAMPLES)


def test_no_route_that_needs_the_token_is_open_without_it(
    repository: ModelRepository, log: Path, tmp_path: Path
) -> None:
    """It is left out, and another one is sent."""
    promote(repository, 1)
    token = "0123456789abcdef" * 2
    described = tmp_path / "openapi.json"
    (tmp_path / "token").write_text(token)
    with run_server(repository.folder, log, "--token-file", str(tmp_path / "token")) as server:
        server.wait_for(lambda: server.get("/v2/health/ready").status == 200)
        described.write_bytes(server.get("/openapi.json", Authorization=f"Bearer {token}").body)
        _explore(
            server,
            tmp_path,
            TOKEN_EXAMPLES,
            str(described),
            "--url",
            server.address,
            "-H",
            f"Authorization: Bearer {token}",
        )
