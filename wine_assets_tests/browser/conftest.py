import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from wine_assets_tests.support.dagster_server import Server, running_server

_PATIENCE_MS = 60_000
"""How long a page may take on a busy machine."""
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, program: str) -> Iterator[Server]:
    """A `dagster dev` that all tests of a worker share; no test relies on what another left there."""
    with running_server(tmp_path_factory.mktemp("dagster-dev")) as running:
        yield running


@pytest.fixture(scope="module")
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


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    """A newcomer's window on the UI, from which nothing beyond this machine can be reached."""
    context = chromium.new_context(base_url=server.url, viewport={"width": 1500, "height": 800}, color_scheme="light")
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)

    def local_only(route: Route) -> None:
        if route.request.url.startswith(server.url):
            route.continue_()
        else:
            route.abort()

    context.route("**/*", local_only)
    window = context.new_page()
    window.goto("/")
    yield window
    context.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.fixture
def materialized(server: Server) -> Server:
    """The server, where every asset is made from the default config; made by the command line, on the same home.

    The model is made after the search, whatever was there before: Dagster calls it unsynced when a search is newer.
    """
    server.command("search", "--trials", "2")
    server.command("run", "--force")
    return server
