"""The page of the inference server, as a person uses it."""

import contextlib
import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect

from wine_assets.evaluation import cross_validation
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets_tests.support.serving.models import KINDS, ORIGIN, content_of, named_rows, promote
from wine_assets_tests.support.serving.server_process import ServerProcess, run_server, wait_until
from wine_assets_tests.support.wine_frames import DEFAULT, exported, wine

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

PATIENCE_MS = 60_000
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 400, "height": 800}
TOKEN = "8f3a1c5e7b9d2f4068ace13579bdf024"  # noqa: S105 - opens nothing
POSITIVE = 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """Two versions with the figures of their evaluation; the first is champion."""
    repository = ModelRepository(tmp_path_factory.mktemp("models") / "wine")
    for kind in KINDS:
        metrics = dict(cross_validation.evaluate(wine(), kind, cross_validation.EvaluationParams()).metrics)
        repository.publish(exported(kind), msgspec.structs.replace(content_of(kind), metrics=metrics), ORIGIN)
    promote(repository, 1)
    return repository


@pytest.fixture(scope="module")
def served(model: ModelRepository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of version 1 that the tests here share; none of them changes what it serves."""
    with run_server(model.folder, tmp_path_factory.mktemp("served") / "log") as server:
        server.wait_for_version(1)
        yield server


@contextlib.contextmanager
def _window(chromium: Browser, server: ServerProcess, size: ViewportSize = WIDE) -> Iterator[Page]:
    """Open the page in a browser that reaches this server alone.

    At the end nothing may have gone wrong in a script, and the policy may have refused nothing.
    """
    context = chromium.new_context(base_url=server.address, viewport=size, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)

    def local_only(route: Route) -> None:
        if route.request.url.startswith(server.address):
            route.continue_()
        else:
            route.abort()

    context.route("**/*", local_only)
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto("/")
    yield page
    context.unroute_all(behavior="ignoreErrors")
    context.close()
    assert wrong == []


@pytest.fixture
def window(chromium: Browser, served: ServerProcess) -> Iterator[Page]:
    """The page as a person opens it."""
    with _window(chromium, served) as page:
        wait_until(lambda: _probability(page) is not None)
        yield page


def _probability(page: Page) -> float | None:
    shown = page.locator("#probability").get_attribute("value")
    return None if shown is None else float(shown)


def _values(page: Page) -> dict[str, float]:
    """Return the values that the number boxes show, by the names of the features."""
    boxes = page.locator("#features .number").evaluate_all("boxes => boxes.map(box => box.valueAsNumber)")
    return dict(zip(Predictor(exported(DEFAULT)).features, boxes, strict=True))


def _box(page: Page, name: str) -> Locator:
    return page.get_by_role("spinbutton", name=f"{name}, any value", exact=True)


def _expected(values: Mapping[str, float], version: int = 1) -> float:
    return Predictor(exported(KINDS[version - 1])).predict_one(**values).probabilities[POSITIVE]


def _wait_for_the_answer(page: Page, version: int = 1) -> None:
    """Wait until the page shows what the model says of the values that the page shows."""
    expected = _expected(_values(page), version)
    wait_until(lambda: _probability(page) == expected, lambda: f"{_probability(page)} is shown, not {expected}")


def _contribution(page: Page, name: str) -> float:
    row = page.locator("#features li").filter(has=page.get_by_text(name, exact=True))
    return float(row.locator(".amount").get_attribute("value") or "nan")


def _log_odds(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


def test_the_page_begins_with_the_medians(window: Page) -> None:
    medians = {feature.name: feature.median for feature in content_of(DEFAULT).features}
    assert _values(window) == pytest.approx(medians, rel=1e-6)
    _wait_for_the_answer(window)
    expect(window.get_by_role("slider")).to_have_count(len(medians))
    expect(window.locator("#explained")).to_contain_text("Every feature is at its training median")


def test_a_person_moves_a_slider_with_the_keyboard_and_sees_what_the_model_says(window: Page) -> None:
    before = _values(window)["alcohol"]
    window.get_by_role("slider", name="alcohol").focus()
    for key in ("PageUp", "PageUp", "ArrowRight", "ArrowRight", "ArrowLeft"):
        window.keyboard.press(key)
    assert _values(window)["alcohol"] > before
    _wait_for_the_answer(window)
    label = Predictor(exported(DEFAULT)).predict_one(**_values(window)).label
    expect(window.locator("#label")).to_have_text(str(label))
    shown = _expected(_values(window))
    expect(window.locator("#said")).to_contain_text(f"probability of class 1 {100 * shown:.1f}%")


def test_a_contribution_is_the_change_of_the_log_odds_from_the_median(window: Page) -> None:
    medians = _values(window)
    _box(window, "alcohol").fill("12")
    _box(window, "proline").fill("900")
    _wait_for_the_answer(window)
    values = _values(window)
    for name in ("alcohol", "proline"):
        without = _log_odds(_expected(values | {name: medians[name]}))
        assert _contribution(window, name) == pytest.approx(_log_odds(_expected(values)) - without, abs=1e-4)
        assert abs(_contribution(window, name)) > 0.1
    assert _contribution(window, "ash") == 0


def test_the_line_for_a_terminal_asks_the_same(window: Page, served: ServerProcess) -> None:
    window.get_by_role("button", name="A random wine").click()
    _wait_for_the_answer(window)
    found = re.fullmatch(r"curl (\S+) --json '([^']+)'", window.locator("#curl").inner_text())
    assert found
    assert found[1] == f"{served.address}/predict"
    request = urllib.request.Request(found[1], found[2].encode(), {"Content-Type": "application/json"})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - likewise
        assert json.load(response)["probabilities"]["1"] == _probability(window)


def test_a_random_wine_is_within_what_the_model_was_trained_on_and_the_way_back_leads_to_the_medians(
    window: Page,
) -> None:
    medians = _values(window)
    window.get_by_role("button", name="A random wine").click()
    drawn = _values(window)
    assert drawn != medians
    assert all(feature.low <= drawn[feature.name] <= feature.high for feature in content_of(DEFAULT).features)
    window.get_by_role("button", name="Back to the medians").click()
    assert _values(window) == medians
    _wait_for_the_answer(window)


def test_a_value_outside_of_training_is_answered_and_said_to_be_outside(window: Page) -> None:
    _box(window, "magnesium").fill("190")
    expect(window.get_by_text("Outside of what the model was trained on, 70 to 162.")).to_be_visible()
    expect(window.get_by_role("slider", name="magnesium")).to_have_value("162")
    assert _values(window)["magnesium"] == 190
    _wait_for_the_answer(window)


def test_an_empty_box_is_no_value(window: Page) -> None:
    before = _values(window)["hue"]
    _box(window, "hue").fill("")
    expect(window.get_by_text("Not a number; the model is still asked about")).to_be_visible()
    _box(window, "ash").focus()
    assert _values(window)["hue"] == before


def test_a_value_that_the_server_refuses_is_refused_in_its_words(window: Page) -> None:
    _box(window, "proline").fill("1e39")
    expect(window.get_by_role("alert")).to_contain_text("proline")
    _box(window, "proline").fill("900")
    expect(window.get_by_role("alert")).to_be_hidden()
    _wait_for_the_answer(window)


def test_every_page_fits_a_narrow_screen(chromium: Browser, served: ServerProcess) -> None:
    with _window(chromium, served, NARROW) as page:
        page.get_by_role("button", name="A random wine").click()
        _box(page, "od280/od315 of diluted wines").fill("123456.789")
        _wait_for_the_answer(page)
        assert _overflow(page) == 0
        page.goto("/docs")
        expect(page.get_by_role("heading", name="/predict")).to_be_visible()
        assert _overflow(page) == 0


def _overflow(page: Page) -> Any:
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def test_the_page_waits_for_a_model(chromium: Browser, tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "wine")
    repository.publish(exported(DEFAULT), content_of(DEFAULT), ORIGIN)
    with run_server(repository.folder, tmp_path / "log") as server, _window(chromium, server) as page:
        expect(page.get_by_role("alert")).to_contain_text("No model is loaded.")
        expect(page.locator("#desk")).to_be_hidden()
        promote(repository, 1)
        expect(page.get_by_role("slider", name="alcohol")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
        wait_until(lambda: _probability(page) is not None)
        _wait_for_the_answer(page)


def test_the_page_follows_to_another_version(chromium: Browser, tmp_path: Path) -> None:
    """It keeps the values and the focus, and says what happened."""
    repository = ModelRepository(tmp_path / "wine")
    for kind in KINDS:
        repository.publish(exported(kind), content_of(kind), ORIGIN)
    promote(repository, 1)
    with run_server(repository.folder, tmp_path / "log") as server:
        server.wait_for_version(1)
        with _window(chromium, server) as page:
            _box(page, "ash").fill("2.5")
            _wait_for_the_answer(page)
            promote(repository, 2)
            server.wait_for_version(2)
            page.get_by_role("slider", name="alcohol").press("ArrowRight")
            expect(page.get_by_role("alert")).to_contain_text("Version 2 is served now, in place of version 1.")
            assert _values(page)["ash"] == 2.5
            expect(page.get_by_role("slider", name="alcohol")).to_be_focused()
            _wait_for_the_answer(page, version=2)


def test_the_page_explains_a_model_whose_features_work_together(chromium: Browser, tmp_path: Path) -> None:
    """Trees answer alike until a threshold is passed: a feature may be off its median, and pull nothing."""
    repository, trees = ModelRepository(tmp_path / "wine"), GradientBoostingHyperparameters(learning_rate=0.05)
    repository.publish(exported(trees), content_of(trees), ORIGIN)
    promote(repository, 1)
    predictor = Predictor(exported(trees))
    with run_server(repository.folder, tmp_path / "log") as server, _window(chromium, server) as page:
        wait_until(lambda: _probability(page) is not None)
        expect(page.get_by_text("gradient boosting")).to_be_visible()
        medians = _values(page)
        _box(page, "ash").fill(str(medians["ash"] + 0.001))
        expect(page.locator("#explained")).not_to_contain_text("Every feature is at its training median")
        assert _contribution(page, "ash") == 0
        _box(page, "proline").fill("1200")
        _box(page, "flavanoids").fill("3.2")
        wait_until(lambda: _probability(page) == predictor.predict_one(**_values(page)).probabilities[POSITIVE])
        values = _values(page)
        for name in ("proline", "flavanoids"):
            answers = [predictor.predict_one(**row) for row in (values, values | {name: medians[name]})]
            now, without = (_log_odds(answer.probabilities[POSITIVE]) for answer in answers)
            assert _contribution(page, name) == pytest.approx(now - without, abs=1e-3)
        expect(page.locator("#explained")).to_contain_text("the model's features work together")


def test_the_page_says_that_the_server_is_gone(chromium: Browser, model: ModelRepository, tmp_path: Path) -> None:
    with run_server(model.folder, tmp_path / "log") as server:
        server.wait_for_version(1)
        with _window(chromium, server) as page:
            wait_until(lambda: _probability(page) is not None)
            server.stop()
            page.get_by_role("slider", name="alcohol").press("ArrowRight")
            expect(page.get_by_role("alert")).to_contain_text("The server doesn't answer.")
            expect(page.locator("#desk")).to_have_class("failed")


@pytest.fixture(scope="module")
def guarded(model: ModelRepository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that requires the token."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN)
    with run_server(model.folder, folder / "log", "--token-file", str(folder / "token")) as server:
        server.wait_for(lambda: server.get("/v2/health/ready").status == 200)
        yield server


def test_a_person_gives_the_token_that_the_server_requires(chromium: Browser, guarded: ServerProcess) -> None:
    """The page forgets it when it is loaded again."""
    with _window(chromium, guarded) as page:
        expect(page.get_by_role("alert")).to_contain_text("The server requires a bearer token.")
        _give(page, "not the token at all")
        expect(page.get_by_role("alert")).to_contain_text("This token isn't the one")
        _give(page, TOKEN)
        expect(page.get_by_role("alert")).to_be_hidden()
        wait_until(lambda: _probability(page) is not None)
        _wait_for_the_answer(page)
        expect(page.locator("#curl")).to_contain_text('--header "Authorization: Bearer $TOKEN"')
        assert TOKEN not in page.content()
        page.reload()
        expect(page.get_by_label("Bearer token")).to_be_visible()


def test_the_page_about_the_routes_asks_for_the_token_too(chromium: Browser, guarded: ServerProcess) -> None:
    with _window(chromium, guarded) as page:
        page.goto("/docs")
        _give(page, TOKEN)
        expect(page.get_by_role("heading", name="/v2/health/live needs no token")).to_be_visible()


def _give(page: Page, token: str) -> None:
    page.get_by_label("Bearer token").fill(token)
    page.get_by_role("button", name="Use it").click()


def test_the_page_about_the_routes_describes_each_and_its_examples_work(window: Page, served: ServerProcess) -> None:
    window.get_by_role("link", name="Routes").click()
    routes = served.get("/openapi.json").json["paths"]
    expect(window.locator(".route")).to_have_count(len(routes))
    for path in ("/predict", "/v2/models/{model_name}/infer"):
        card = window.locator(".route").filter(
            has=window.get_by_role("heading", name=path).get_by_text(path, exact=True)
        )
        found = re.fullmatch(r"curl (\S+) --json '([^']+)'", card.locator("pre").first.inner_text())
        assert found
        assert found[1].startswith(served.address)
        assert served.post(found[1].removeprefix(served.address), found[2].encode()).status == 200


def test_the_page_fits_into_one_picture(chromium: Browser, served: ServerProcess, pictures: Path) -> None:
    with _window(chromium, served, {"width": 1180, "height": 880}) as page:
        for name, value in _undecided_wine().items():
            _box(page, name.replace("_", " ")).fill(f"{value:.6g}")
        _box(page, "proline").blur()
        _wait_for_the_answer(page)
        picture = pictures / "serving-page.png"
        page.screenshot(path=picture, animations="disabled")
    assert picture.stat().st_size < 200_000, "too large for a README"


def _undecided_wine() -> dict[str, float]:
    """Return the wine of which the model is least sure."""
    return min(named_rows(), key=lambda row: abs(_expected(row) - 0.5))
