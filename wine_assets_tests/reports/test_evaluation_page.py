import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from wine_assets.evaluation.cross_validation import Evaluation, EvaluationParams, Importance, evaluate
from wine_assets.models.reference import REFERENCE
from wine_assets.reports import evaluation_page
from wine_assets.reports.plots import evaluation_picture
from wine_assets_tests.support.wine_frames import DEFAULT, wine

HOSTILE = "<script>alert('wine')</script>"
VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a page holds; `problem` says what isn't well-formed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problem = ""
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        self.problem = self.problem or ", ".join(self.open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problem = f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def evaluations() -> tuple[Evaluation, Evaluation]:
    params = EvaluationParams(folds=3)
    return evaluate(wine(), DEFAULT, params), evaluate(wine(), REFERENCE, params)


@pytest.fixture(scope="module")
def picture(evaluations: tuple[Evaluation, Evaluation]) -> bytes:
    return evaluation_picture(evaluations[0])


@pytest.fixture(scope="module")
def page(evaluations: tuple[Evaluation, Evaluation], picture: bytes) -> str:
    return rendered(*evaluations, picture=picture)


def rendered(evaluation: Evaluation, reference: Evaluation, **changed: Any) -> str:
    arguments = {"hyperparameters": DEFAULT.model_dump(), "summary": "178 rows", "picture": b"PNG"} | changed
    return evaluation_page.render(evaluation, reference, **arguments)


def test_the_page_is_well_formed_html(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert Page(page).problem == ""


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    """It refers to no address and runs no script."""
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object"} & {*parsed.tags}
    assert [value[:22] for name, value in parsed.attributes if name in ("src", "href", "data")] == [
        "data:image/png;base64,"
    ]
    assert not re.search(r"https?:|url\(|@import|\son\w+=", page)


def test_the_picture_in_the_page_is_the_picture(page: str, picture: bytes) -> None:
    (source,) = (value for name, value in Page(page).attributes if name == "src")
    decoded = base64.b64decode(source.removeprefix("data:image/png;base64,"), validate=True)
    assert decoded == picture
    assert image.imread(io.BytesIO(decoded), format="png").shape[:2] == (800, 1000)


def test_the_picture_is_described_for_those_who_cannot_see_it(page: str) -> None:
    (description,) = (value for name, value in Page(page).attributes if name == "alt")
    assert description == "Confusion matrix, calibration, ROC curve and permutation importances"


def test_every_figure_stands_beside_that_of_the_reference(
    page: str, evaluations: tuple[Evaluation, Evaluation]
) -> None:
    evaluation, reference = evaluations
    rows = evaluation_page.metric_rows(evaluation, reference)
    assert [row[0] for row in rows] == ["accuracy", "log loss", "roc auc", "brier score"]
    for name, *_ in rows:
        key = name.replace(" ", "_")
        figures = (evaluation.metrics[key], evaluation.deviations[key], reference.metrics[key])
        cells = "".join(f'<td class="number">{figure:.4f}</td>' for figure in figures)
        assert f"<tr><td>{name}</td>{cells}</tr>" in page


def test_features_and_hyperparameters_are_listed(page: str) -> None:
    text = Page(page).text
    assert {*wine().columns[:-1]} <= {*text}
    assert {*DEFAULT.model_dump()} <= {*text}
    assert {"5000", "lbfgs", "standard", "1.0"} <= {*text}


def hostile(evaluation: Evaluation) -> Evaluation:
    return Evaluation(**{**vars(evaluation), "importances": (Importance(HOSTILE, 0.1, 0.0),)})


def test_what_comes_from_data_is_shown_and_never_run(evaluations: tuple[Evaluation, Evaluation]) -> None:
    page = rendered(
        hostile(evaluations[0]),
        evaluations[1],
        hyperparameters={HOSTILE: HOSTILE},
        summary=f'{HOSTILE} "$picture" & ${{metrics}} $',
    )
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert HOSTILE not in page
    assert parsed.text.count(HOSTILE) == 3
    assert f'{HOSTILE} "$picture" & ${{metrics}} $' in parsed.text


def test_no_importances_leave_an_empty_table(evaluations: tuple[Evaluation, Evaluation]) -> None:
    bare = Evaluation(**{**vars(evaluations[0]), "importances": ()})
    assert Page(rendered(bare, evaluations[1])).problem == ""


def test_figures_that_are_no_numbers_are_shown_as_such(evaluations: tuple[Evaluation, Evaluation]) -> None:
    unknown = Evaluation(**{**vars(evaluations[0]), "metrics": dict.fromkeys(evaluations[0].metrics, np.nan)})
    assert '<td class="number">nan</td>' in rendered(unknown, evaluations[1])


def test_equal_evaluations_give_equal_pages(
    evaluations: tuple[Evaluation, Evaluation], picture: bytes, page: str
) -> None:
    assert rendered(*evaluations, picture=picture) == page
