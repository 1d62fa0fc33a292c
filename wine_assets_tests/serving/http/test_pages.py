"""The pages for people, as they are sent."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from wine_assets.files import sha256_of_bytes
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.serving.data_plane import LoadedModel
from wine_assets.serving.http import pages
from wine_assets_tests.support.serving.models import content_of, manifest_for, promote, write_pointer, write_version
from wine_assets_tests.support.serving.server_process import Client, Reply, ServerProcess, run_server
from wine_assets_tests.support.wine_frames import DEFAULT, exported

PAGES = ("/", "/docs")
BREAKING = "</script><script>alert(1)</script><!--\u2028&"


def _block(reply: Reply) -> Any:
    found = re.search(r'<script id="model" type="application/json">(.*?)</script>', reply.body.decode(), re.DOTALL)
    assert found
    return json.loads(found[1])


def _policy(reply: Reply) -> dict[str, list[str]]:
    directives = [directive.split() for directive in reply.headers["content-security-policy"].split(";")]
    return {name: values for name, *values in directives}


@pytest.mark.parametrize("path", PAGES)
def test_page_runs_its_own_scripts_only(path: str, client: Client) -> None:
    """The policy allows the page's own scripts and styles, and nothing else."""
    reply = client.get(path)
    policy = _policy(reply)
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    for tag in ("script", "style"):
        inlined = re.findall(rf"<{tag}>(.*?)</{tag}>", reply.body.decode(), re.DOTALL)
        assert inlined
        sums = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inlined]
        assert {f"'sha256-{digest}'" for digest in sums} <= {*policy[f"{tag}-src"]}
        assert all(source.startswith("'sha256-") for source in policy[f"{tag}-src"])


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_in_itself(path: str, client: Client) -> None:
    """It loads nothing, from here or elsewhere, and has no handlers or styles in attributes."""
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", client.get(path).body.decode(), flags=re.DOTALL)
    assert re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?!data:)", markup) == []
    assert re.findall(r"\s(?:on\w+|style)=", markup) == []
    assert "http://" not in markup.replace("http://www.w3.org/2000/svg", "")


def test_the_page_holds_what_the_manifest_says(server: ServerProcess) -> None:
    block, content = _block(server.get("/")), content_of(DEFAULT)
    assert (block["name"], block["version"], block["classes"]) == ("wine", "1", [0, 1])
    assert block["sha256"] == sha256_of_bytes(exported(DEFAULT))
    assert [feature["name"] for feature in block["features"]] == [feature.name for feature in content.features]
    first = content.features[0]
    assert [block["features"][0][key] for key in ("low", "high", "median")] == [first.low, first.high, first.median]
    assert block["features"][0]["edges"] == list(first.histogram.edges)


def test_the_page_is_about_the_model_that_is_served_now(own: ServerProcess, repository: ModelRepository) -> None:
    promote(repository, 2)
    own.wait_for_version(2)
    assert _block(own.get("/"))["version"] == "2"


def test_the_page_has_nothing_to_say_of_no_model(repository: ModelRepository, log: Path) -> None:
    with run_server(repository.folder, log) as server:
        reply = server.get("/")
    assert (reply.status, _block(reply)) == (200, None)


def test_text_of_a_manifest_stays_text(repository: ModelRepository, log: Path) -> None:
    manifest = manifest_for(exported(DEFAULT), family=BREAKING)
    write_version(repository, 3, {"model.onnx": exported(DEFAULT), "manifest.json": manifest})
    write_pointer(repository, 3, manifest)
    with run_server(repository.folder, log) as server:
        server.wait_for_version(3)
        reply = server.get("/")
    assert _block(reply)["family"] == BREAKING
    assert b"alert(1)</script>" not in reply.body


def test_a_model_without_a_manifest_has_no_ranges_to_show() -> None:
    assert _block(Reply(200, {}, pages.index(LoadedModel("wine", Predictor(exported(DEFAULT))))))["features"] == []
