import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from wine_assets_tests.support.dagster_server import Server, running_server

_PATIENCE_MS = 120_000
"""How long a page may take on a machine that has too much to do."""
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="session")
def program() -> str:
    """The path of the system's Chromium; without it there is nothing to test."""
    found = shutil.which("chromium")
    if found:
        return found
    reason = "Chromium is not installed (no chromium in PATH)"
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A `dagster dev` for all tests of the group; none relies on what another one left there."""
    with running_server(tmp_path_factory.mktemp("dagster-dev")) as running:
        yield running


@pytest.fixture(scope="package")
def chromium(program: str) -> Iterator[Browser]:
    """The system's Chromium with an empty profile; not for the session, because playwright occupies asyncio."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=_QUIET)
        yield browser
        browser.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder for pictures of what was seen: `SCREENSHOTS=docs` puts the README's where it belongs."""
    return Path(os.environ.get("SCREENSHOTS", tmp_path))


@pytest.fixture(scope="package")
def window(chromium: Browser, server: Server) -> Iterator[Page]:
    """A window on the UI, from which nothing beyond this machine can be reached."""
    context = chromium.new_context(base_url=server.url, color_scheme="light")
    context.set_default_timeout(_PATIENCE_MS)

    def local_only(route: Route) -> None:
        if route.request.url.startswith(server.url):
            route.continue_()
        else:
            route.abort()

    context.route("**/*", local_only)
    opened = context.new_page()
    opened.goto("/")
    yield opened
    context.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.fixture
def page(window: Page) -> Page:
    """A newcomer's view of the UI: the window at its start, without what it has noted of earlier tests."""
    expect.set_options(timeout=_PATIENCE_MS)
    window.set_viewport_size({"width": 1500, "height": 800})
    window.evaluate("localStorage.clear(); sessionStorage.clear()")
    window.goto("/")
    return window


@pytest.fixture
def recorded(server: Server) -> Server:
    """The server, where each asset was made at least once."""
    if any(asset.run is None for asset in server.assets().values()):
        _make_all(server)
    return server


@pytest.fixture
def materialized(server: Server) -> Server:
    """The server, where every asset was made from the default config, and none is unsynced."""
    assets = server.assets()
    model = assets["wine_model"].metadata.get("hyperparameters", {})
    if any(asset.stale or asset.run is None for asset in assets.values()) or model.get("C") != 1:
        _make_all(server)
    return server


def _make_all(server: Server) -> None:
    """Make every asset by the command line, on the same home.

    The model comes after the search, because Dagster calls it unsynced when a search is newer.
    """
    server.command("search", "--trials", "2")
    server.command("run", "--force")
