import io
import itertools
import math
from typing import Any

import matplotlib.image as images
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wine_assets.models.registry import families
from wine_assets.reports.search_picture import importances, picture, varied
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.result import SearchResult
from wine_assets.search.space import FamilySpace
from wine_assets.search.trials import TrialResult
from wine_assets_tests.support.search_builders import FAMILY, between, choice, family_space, trial_result

SPACE = family_space(
    {"scaler": "none"},
    C=between(1e-4, 1e2, log=True),
    tol=between(1e-6, 1.0),
    max_iter=between(1, 1000, "int", log=True),
    solver=choice("lbfgs", "saga"),
    fit_intercept=choice(True),
)


def found(trials: int, space: FamilySpace = SPACE, **objective: Any) -> SearchResult:
    """Return a search whose loss depends on C a lot, on tol a little, and on nothing else."""
    generator = np.random.default_rng(3)
    outcomes = []
    for number in range(trials):
        drawn = {name: space.parameters[name].at(generator.random()) for name in sorted(space.parameters)}
        loss = 0.1 + abs(math.log10(drawn.get("C", 1.0))) + 0.1 * drawn.get("tol", 0.0)
        outcomes.append(trial_result(number, loss, loss * 1.1, **space.fixed, **drawn))
    failures = [trial_result(trials, state="failed", C=1.0), trial_result(trials + 1, 9.0, state="pruned", C=1.0)]
    return SearchResult([*outcomes, *failures], ObjectiveParams(folds=2, **objective))


def drawn(result: SearchResult, space: dict[str, FamilySpace], monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """Return the axes of the picture, which is a PNG of the size of its figure."""
    figures: list[Figure] = []
    init = Figure.__init__

    def remembered(self: Figure, *arguments: Any, **given: Any) -> None:
        init(self, *arguments, **given)
        figures.append(self)

    monkeypatch.setattr(Figure, "__init__", remembered)
    png = picture(result, space)
    height, width = images.imread(io.BytesIO(png)).shape[:2]
    assert [width, height] == pytest.approx((figures[0].get_size_inches() * figures[0].dpi).tolist(), abs=1)
    return figures[0].axes


# --- importances -------------------------------------------------------------


def test_the_hyperparameter_that_the_loss_depends_on_is_the_important_one() -> None:
    shares = importances(found(80), FAMILY, SPACE)
    assert next(iter(shares)) == "C"
    assert shares["C"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_what_has_one_value_alone_is_not_told_of() -> None:
    assert varied(SPACE) == ["C", "tol", "max_iter", "solver"]
    assert [*importances(found(30), FAMILY, SPACE)].count("fit_intercept") == 0


def test_too_few_trials_and_too_few_hyperparameters_have_no_importances() -> None:
    assert importances(found(9), FAMILY, SPACE) == {}
    assert importances(found(30, family_space(C=choice(1.0))), FAMILY, family_space(C=choice(1.0))) == {}
    assert importances(found(30), "gradient_boosting", SPACE) == {}


def test_importances_are_the_same_every_time() -> None:
    assert importances(found(30), FAMILY, SPACE) == importances(found(30), FAMILY, SPACE)


# --- the picture -------------------------------------------------------------


def test_the_picture_shows_the_course_the_trials_and_each_hyperparameter(monkeypatch: pytest.MonkeyPatch) -> None:
    result = found(40)
    history, parallel, shares, *slices = drawn(result, {FAMILY: SPACE}, monkeypatch)
    assert np.shape(history.collections[0].get_offsets())[0] == 40
    running = np.asarray(history.lines[0].get_ydata(), dtype=float)
    assert (np.diff(running) <= 0).all()
    assert running[-1] == result.best.mean
    assert len(parallel.lines) == 40
    assert len(shares.patches) == 4
    assert {axes.get_xlabel() for axes in slices} == {"C", "tol", "max_iter", "solver"}
    scales = {axes.get_xlabel(): axes.get_xscale() for axes in slices}
    assert scales == {"C": "log", "tol": "linear", "max_iter": "log", "solver": "linear"}
    assert history.get_yscale() == "log"


def test_the_course_of_an_accuracy_goes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    history = drawn(found(20, metric="accuracy"), {FAMILY: SPACE}, monkeypatch)[0]
    assert (np.diff(np.asarray(history.lines[0].get_ydata(), dtype=float)) >= 0).all()


def test_one_trial_of_nothing_that_varies_has_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = family_space({"C": 1.0})
    axes = drawn(SearchResult([trial_result(0, 0.5, 0.5, C=1.0)], ObjectiveParams()), {FAMILY: fixed}, monkeypatch)
    assert len(axes) == 3
    assert axes[1].get_title() == f"{FAMILY}: the best 1 trial"
    assert axes[2].texts[0].get_text() == "fewer than 10 trials, or nothing that varies"


def test_hundreds_of_trials_are_drawn_as_the_best_two_hundred_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    space = family_space(C=between(1e-4, 1e2, log=True))
    history, parallel, *_ = drawn(found(250, space), {FAMILY: space}, monkeypatch)
    assert len(parallel.lines) == 200
    assert np.shape(history.collections[0].get_offsets())[0] == 250


def test_names_and_values_are_written_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dollar begins no formula, and a letter that the font lacks is a box."""
    space = family_space(C=between(1, 2))
    odd = FamilySpace(parameters={**space.parameters, "solver": choice("$\\frac{", "葡萄酒")})
    outcomes = [trial_result(n, 0.1 * n + 0.1, C=1.5, solver=odd.parameters["solver"].values[n % 2]) for n in range(12)]
    axes = drawn(SearchResult(outcomes, ObjectiveParams(folds=2)), {FAMILY: odd}, monkeypatch)
    labels = {label.get_text() for axis in axes for label in axis.get_xticklabels()}
    assert {"$\\frac{", "葡萄酒"} <= labels


@pytest.mark.parametrize(("low", "high"), [(3, 63), (0.01, 0.5), (2, 40), (1e-4, 1e2), (0.4, 0.9)])
def test_the_ticks_of_a_logarithmic_scale_do_not_touch(
    low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = family_space(C=between(low, high, log=True))
    sliced = drawn(found(5, space), {FAMILY: space}, monkeypatch)[-1]
    figure = sliced.figure
    assert isinstance(figure, Figure)
    shown = [tick.label1 for tick in (*sliced.xaxis.get_major_ticks(), *sliced.xaxis.get_minor_ticks())]
    boxes = sorted((label.get_window_extent() for label in shown if label.get_text()), key=lambda box: box.x0)
    left, right = sliced.get_window_extent().x0 - 1, sliced.get_window_extent().x1 + 1
    seen = [box for box in boxes if left <= (box.x0 + box.x1) / 2 <= right]
    assert len(seen) >= 2
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(seen))


def test_each_family_has_rows_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    if "gradient_boosting" not in families():
        pytest.skip("there is only one family")
    strength = family_space(C=between(1e-4, 1e2, log=True))
    seeded = family_space(random_state=choice(0, 1, 2))
    trees = [
        TrialResult(100 + n, 1, "gradient_boosting", {"random_state": n % 3}, "finished", (0.5, 0.6)) for n in range(9)
    ]
    result = SearchResult([*found(20, strength).trials, *trees], ObjectiveParams(folds=2))
    axes = drawn(result, {FAMILY: strength, "gradient_boosting": seeded}, monkeypatch)
    assert [title for title in (axis.get_title() for axis in axes) if ": the best" in title] == [
        f"{FAMILY}: the best 20 trials",
        "gradient_boosting: the best 9 trials",
    ]


def test_a_family_without_a_score_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(found(12), {FAMILY: SPACE, "gradient_boosting": family_space(C=between(1, 2))}, monkeypatch)
    assert [axis.get_title() for axis in axes if "best" in axis.get_title()] == [f"{FAMILY}: the best 12 trials"]


def test_ten_thousand_trials_take_little_and_the_best_one_keeps_its_color() -> None:
    png = picture(found(10_000), {FAMILY: SPACE})
    assert len(png) < 1_000_000
    red, green, blue = (images.imread(io.BytesIO(png))[..., :3] * 255).transpose(2, 0, 1)
    assert ((red > 170) & (green < 60) & (blue < 60)).any()
