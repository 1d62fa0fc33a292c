import re

import pytest
from playwright.sync_api import Locator, Page, expect

from wine_assets_tests.support.browser_user import ASSETS, editor, launch, open_launchpad, open_page, wait_for_success
from wine_assets_tests.support.dagster_server import Server

# One worker runs the whole group, so that there is one server, and one browser, to start.
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]


QUICK = "evaluation: {folds: 2, permutations: 1}"
"""An evaluation that takes a tenth of the time, for tests of other things."""


def test_launchpad_shows_each_hyperparameter_and_its_meaning(page: Page) -> None:
    """The form holds the defaults, and says what the field at the cursor means."""
    form = open_launchpad(page, "Jobs", "training_job")
    for line in ("logistic_regression:", "C: 1", "l1_ratio: 0", "solver: lbfgs", "max_iter: 5000"):
        expect(editor(form)).to_contain_text(line)
    expect(form.get_by_text("Gradient-boosted trees.")).to_be_visible()
    editor(form).get_by_text("l1_ratio").click()  # the meanings shown are those of what a person is at
    expect(form.get_by_text("the reference run uses 0.01")).to_be_visible()


@pytest.mark.usefixtures("recorded")
def test_launchpad_of_an_asset_asks_for_its_own_config(page: Page) -> None:
    """The form of one asset leaves out the config of resources and of other assets."""
    form = open_launchpad(page, "Catalog", "wine_model")
    expect(editor(form)).to_contain_text("hyperparameters:")
    expect(editor(form)).not_to_contain_text("format_name")


def test_person_trains_with_hyperparameters_and_sees_the_report(page: Page, server: Server) -> None:
    """Each asset comes of the launched run, and the evaluation shows its picture in the UI."""
    config = f"{{hyperparameters: {{logistic_regression: {{C: 0.01, scaler: none}}}}, {QUICK}}}"
    launch(open_launchpad(page, "Jobs", "training_job"), config)
    run = wait_for_success(page)

    assets = server.assets()
    assert {name: assets[name].run for name in ASSETS} == dict.fromkeys(ASSETS, run)
    assert assets["wine_model"].metadata["hyperparameters"]["C"] == 0.01
    assert assets["wine_predictions"].metadata["labels"] == [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    report = _open_report(page, run)
    expect(report).to_have_attribute("src", re.compile("^data:image/png;base64,"))
    expect(report).to_have_js_property("complete", value=True)
    assert report.evaluate("image => image.naturalWidth") > 500


def test_person_trains_another_family(page: Page, server: Server) -> None:
    """The family that the form names makes the model."""
    config = f"{{hyperparameters: {{gradient_boosting: {{max_iter: 20}}}}, {QUICK}}}"
    launch(open_launchpad(page, "Jobs", "training_job"), config)
    run = wait_for_success(page)
    assets = server.assets()
    assert {name: assets[name].run for name in ASSETS} == dict.fromkeys(ASSETS, run)
    hyperparameters = assets["wine_model"].metadata["hyperparameters"]
    assert (hyperparameters["family"], hyperparameters["max_iter"]) == ("gradient_boosting", 20)


def test_person_searches_and_trains_on_the_best(page: Page, server: Server) -> None:
    """A search in steps has a step for each chunk; the training run takes the best hyperparameters of it."""
    form = open_launchpad(page, "Jobs", "search_job", "metric: log_loss")
    for line in ("strategy:", "random:", "space:", "retries: 1"):
        expect(editor(form)).to_contain_text(line)
    launch(form, "{budget: {trials: 4}, strategy: {random: {seed: 5}}, backend: {steps: {chunk_trials: 2}}}")
    run = wait_for_success(page)
    found = server.assets()["hyperparameter_search"]
    assert found.run == run
    chunks = [step for step in server.runs()[run][1] if "run_chunk" in step]
    assert len(chunks) == 2

    page.goto("/")
    launch(open_launchpad(page, "Jobs", "training_job"), f"{{hyperparameters: {{best: {{}}}}, {QUICK}}}")
    wait_for_success(page)
    assert server.assets()["wine_model"].metadata["hyperparameters"] == found.metadata["best"]["hyperparameters"]


def _open_report(page: Page, run: str) -> Locator:
    open_page(page, "Catalog", "model_evaluation")
    page.get_by_role("tab", name="Events").click()
    expect(page.get_by_text(f"Materialized in run {run[:8]}")).to_be_visible()
    page.get_by_role("row", name="picture").get_by_text("Show Markdown").click()
    return page.get_by_role("dialog").get_by_role("img", name="Evaluation on held-out rows")


def test_bad_hyperparameter_is_refused_at_launch(page: Page, server: Server) -> None:
    """The dialog says why and what to change, and nothing runs."""
    runs, assets = server.runs(), server.assets()
    launch(open_launchpad(page, "Jobs", "training_job"), "hyperparameters: {logistic_regression: {C: -1}}")
    refusal = page.get_by_role("dialog").filter(has=page.get_by_text("Error", exact=True))
    expect(refusal).to_contain_text("C must be greater than 0, got -1.0")
    expect(refusal).to_contain_text("Change `hyperparameters.C` in the run config.")
    assert server.runs() == runs
    assert server.assets() == assets
