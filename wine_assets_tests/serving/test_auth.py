"""The bearer token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from wine_assets.errors import SettingsError
from wine_assets.serving.auth import BearerToken
from wine_assets_tests.support.serving.models import promote, publish_models, request, rows
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server

TOKEN = "8f3a1c5e7b9d2f4068ace13579bdf024"  # noqa: S105 - opens nothing
GUARDED = ("/v2", "/v2/models/wine", "/v2/models/wine/ready", "/metrics", "/openapi.json", "/", "/docs", "/nothing")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(f"{TOKEN}\n")
    promote(publish_models(folder / "wine"), 1)
    with run_server(folder / "wine", folder / "log", "--token-file", str(folder / "token")) as started:
        started.wait_for(lambda: started.get("/v2/health/ready").status == 200)
        yield started


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer ü"],
)
def test_a_route_is_closed_to_those_without_the_token(path: str, given: str | None, guarded: ServerProcess) -> None:
    reply = guarded.get(path, **({} if given is None else {"Authorization": given}))
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert reply.json["error"].endswith(".")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_browser_without_the_token(path: str, guarded: ServerProcess) -> None:
    """A browser without the token gets a page that asks for it and says nothing about the model."""
    reply = guarded.get(path, Accept="text/html,*/*;q=0.8")
    assert (reply.status, reply.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert b'id="token"' in reply.body
    assert b"alcohol" not in reply.body
    assert "default-src 'none'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize("path", GUARDED[:-1])
@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
def test_a_route_is_open_to_those_with_the_token(path: str, given: str, guarded: ServerProcess) -> None:
    assert guarded.get(path, Authorization=given).status == 200


def test_requests_need_the_token_too(guarded: ServerProcess) -> None:
    for path in ("/v2/models/wine/infer", "/predict"):
        assert guarded.post(path, request(rows()[:1])).status == 401
    assert guarded.post("/v2/models/wine/infer", request(rows()[:1]), Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_token(path: str, guarded: ServerProcess) -> None:
    assert guarded.get(path).status == 200


@pytest.mark.parametrize(
    "path", ["/v2/health/live/../../metrics", "//metrics", "/metrics/", "/%6detrics", "/v2/health/live/x"]
)
def test_no_way_leads_around_the_token(path: str, guarded: ServerProcess) -> None:
    assert guarded.get(path).status == 401


@pytest.mark.parametrize(
    "content", ["", "\n", "short", "with a space in the middle of it", "ümlauts-are-not-printable"]
)
def test_a_token_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(SettingsError, match="must hold one line of at least 16"):
        BearerToken.of(tmp_path / "token")
    with pytest.raises(SettingsError, match=r"can't be read: No such file"):
        BearerToken.of(tmp_path / "nothing")
