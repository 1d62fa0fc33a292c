"""What a person does in the UI, and where the things are that a person looks at."""

import re

from playwright.sync_api import Locator, Page, expect

ASSETS = {
    "raw_wine": "data",
    "binarized_wine": "data",
    "wine_model": "model",
    "model_evaluation": "model",
    "wine_model_onnx": "model",
    "wine_predictions": "model",
    "released_model": "release",
}
"""Every asset that training_job makes, and the group that it is in."""
EVERY_ASSET = ASSETS | {"hyperparameter_search": "search"}
_SHOWN = {"hyperparameter_search": re.compile("^hyperparam.*_search$")}
"""What the graph shows of a long name, by the room that it has."""
RUN_MS = 300_000
"""How long a run may take on a machine that has too much to do."""


def open_asset_graph(page: Page) -> None:
    """Go to the graph of all assets, make room for it, and unfold its groups."""
    page.set_viewport_size({"width": 2300, "height": 1700})  # with less, its boxes show names alone
    link(page, "Lineage").click()
    page.get_by_role("button", name="Hide navigation").click()
    page.get_by_role("button", name="panel_show_right").last.click()
    page.get_by_role("button", name="settings").last.click()
    page.get_by_role("menuitem", name="Expand all groups").click()
    page.keyboard.press("Escape")
    page.mouse.move(0, 0)
    for name in EVERY_ASSET:
        expect(node(page, name)).to_be_visible()


def node(page: Page, name: str) -> Locator:
    """Return the box of an asset, or of a group, in the graph."""
    shown = _SHOWN.get(name, name)
    return page.locator("foreignObject").filter(has=page.get_by_text(shown, exact=True)).last


def link(page: Page, text: str) -> Locator:
    """Return the first link that reads `text`, whatever icon stands beside it."""
    return page.get_by_role("link").filter(has=page.get_by_text(text, exact=True)).first


def open_page(page: Page, section: str, name: str) -> None:
    """Go to the page of one thing through the section of the navigation that lists it."""
    link(page, section).click()
    link(page, name).click()


def open_launchpad(page: Page, section: str, name: str, shows: str = "scaler: standard") -> Locator:
    """Go to the form that launches a job, or materializes an asset, with a config; return it when it `shows` that."""
    open_page(page, section, name)
    page.get_by_role("button", name="arrow_drop_down").first.click()
    page.get_by_role("menuitem", name="Open launchpad").click()
    form = page.get_by_role("dialog").filter(has=page.get_by_text("Launchpad"))
    expect(editor(form)).to_contain_text(shows)
    return form


def editor(form: Locator) -> Locator:
    """Return the config that a form shows."""
    return form.locator(".CodeMirror-code")


def launch(form: Locator, config: str) -> None:
    """Type `config` in place of all that the form shows, and send it."""
    editor(form).locator(".CodeMirror-line").first.click()
    form.page.keyboard.press("ControlOrMeta+a")
    form.page.keyboard.insert_text(config)  # at once: keys typed one by one meet the editor's completions
    expect(editor(form).locator(".CodeMirror-line")).to_have_text([config])
    form.get_by_role("button", name="Materialize").click()


def wait_for_success(page: Page) -> str:
    """Wait on a run's page until the run has succeeded, and return its id."""
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("Success", exact=True)).to_be_visible(timeout=RUN_MS)
    return page.url.rsplit("/", 1)[-1]
