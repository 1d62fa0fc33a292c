from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Page, expect

from wine_assets_tests.support.browser_user import (
    ASSETS,
    EVERY_ASSET,
    RUN_MS,
    launch,
    node,
    open_asset_graph,
    open_launchpad,
    wait_for_success,
)
from wine_assets_tests.support.dagster_server import Server

# One worker runs the whole group, so that there is one server, and one browser, to start.
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]

UNSYNCED = ("model_evaluation", "wine_model_onnx", "released_model")
"""The assets that read wine_model; Dagster marks the next ones when these have changed."""
MARGIN = 24


def test_person_sees_every_asset_in_its_group(page: Page, server: Server) -> None:
    """The graph draws each asset within the box of its group."""
    open_asset_graph(page)
    for name, group in EVERY_ASSET.items():
        assert _within(_box(page, name), _box(page, group)), f"{name} is not drawn in {group}"
    assert {name: asset.group for name, asset in server.assets().items()} == EVERY_ASSET


def test_materialize_all_makes_every_asset(page: Page, server: Server) -> None:
    """One click makes them in one run, from the default config."""
    open_asset_graph(page)
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("link", name="View", exact=True).click()
    run = wait_for_success(page)
    assert {name: asset.run for name, asset in server.assets().items()} == dict.fromkeys(EVERY_ASSET, run)
    assert server.assets()["wine_model"].metadata["hyperparameters"]["C"] == 1


@pytest.mark.usefixtures("materialized")
def test_whole_graph_fits_into_one_picture(page: Page, pictures: Path) -> None:
    """The picture of the README shows every asset materialized and in sync."""
    open_asset_graph(page)
    for name in EVERY_ASSET:
        expect(node(page, name)).to_contain_text("Materialized", timeout=RUN_MS)
        expect(node(page, name).get_by_text("Unsynced")).to_have_count(0)
    page.wait_for_load_state("networkidle")
    toolbar = page.get_by_role("button", name="Materialize all").bounding_box()
    assert toolbar is not None
    assert all(_box(page, group)["y"] > toolbar["y"] + toolbar["height"] for group in set(EVERY_ASSET.values()))
    picture = pictures / "asset-graph.png"
    page.screenshot(path=picture, clip=_around(page), scale="css")
    assert picture.stat().st_size < 350_000, "too large for a README"


def test_other_model_leaves_what_reads_it_unsynced(page: Page, materialized: Server) -> None:
    """The graph marks the assets that read the model, and offers to materialize these alone."""
    form = open_launchpad(page, "Catalog", "wine_model")
    launch(form, "ops: {wine_model: {config: {hyperparameters: {logistic_regression: {C: 0.5}}}}}")
    wait_for_success(page)

    page.goto("/")
    open_asset_graph(page)
    for name in ASSETS:
        badge = node(page, name).get_by_text("Unsynced")
        expect(badge).to_have_count(1 if name in UNSYNCED else 0)
    assert {name for name, asset in materialized.assets().items() if asset.stale} == set(UNSYNCED)
    page.get_by_role("button", name="arrow_drop_down").last.click()
    page.get_by_role("menuitem", name="Materialize unsynced").click()
    expect(page.get_by_role("button", name="Materialize 3 assets")).to_be_visible()


def _box(page: Page, name: str) -> FloatRect:
    box = node(page, name).bounding_box()
    assert box is not None
    return box


def _within(inner: FloatRect, outer: FloatRect) -> bool:
    return (
        outer["x"] <= inner["x"]
        and outer["y"] <= inner["y"]
        and inner["x"] + inner["width"] <= outer["x"] + outer["width"]
        and inner["y"] + inner["height"] <= outer["y"] + outer["height"]
    )


def _around(page: Page) -> FloatRect:
    boxes = [_box(page, group) for group in set(EVERY_ASSET.values())]
    left, top = (min(box[side] for box in boxes) for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    return {
        "x": left - MARGIN,
        "y": top - MARGIN,
        "width": right - left + 2 * MARGIN,
        "height": bottom - top + 2 * MARGIN,
    }
