import io
import struct
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from wine_assets.evaluation.cross_validation import METRICS, Evaluation, EvaluationParams, Importance, evaluate, scores
from wine_assets.reports.plots import evaluation_picture
from wine_assets_tests.support.wine_frames import DEFAULT, wine

FEATURES = ("alcohol", "hue", "proline")


def evaluation(*, features: tuple[str, ...] = FEATURES, probability: Any = None) -> Evaluation:
    """Return an evaluation of forty rows."""
    y = np.arange(40) % 2
    generator = np.random.default_rng(0)
    p = np.clip(0.6 * y + 0.4 * generator.random(40), 0, 1) if probability is None else probability
    importances = tuple(Importance(name, 0.3 - 0.1 * place, 0.05) for place, name in enumerate(features))
    return Evaluation(scores(y, p), dict.fromkeys(METRICS, 0.1), y, p, importances)


def pixels(picture: bytes) -> Any:
    return image.imread(io.BytesIO(picture), format="png")


def assert_drawn(picture: bytes) -> None:
    """A PNG of the size that is promised, with something in each of its quarters."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (1000, 800)
    drawn = pixels(picture)[:, :, :3]
    quarters = [drawn[top : top + 400, left : left + 500] for top in (0, 400) for left in (0, 500)]
    assert all((quarter < 0.5).any(axis=2).sum() > 500 for quarter in quarters)


def test_the_evaluation_of_the_wine_model_is_drawn() -> None:
    assert_drawn(evaluation_picture(evaluate(wine(), DEFAULT, EvaluationParams(folds=3))))


def test_two_folds_of_the_fewest_rows_are_drawn() -> None:
    frame = wine().iloc[[0, 1, 100, 101]]
    assert_drawn(evaluation_picture(evaluate(frame, DEFAULT, EvaluationParams(folds=2, permutations=1))))


@pytest.mark.parametrize("count", [1, 15, 16, 40])
def test_any_number_of_features_is_drawn(count: int) -> None:
    assert_drawn(evaluation_picture(evaluation(features=tuple(f"feature {place}" for place in range(count)))))


def test_features_beyond_the_fifteen_most_important_do_not_change_the_picture() -> None:
    names = tuple(f"feature {place}" for place in range(40))
    assert evaluation_picture(evaluation(features=names)) == evaluation_picture(evaluation(features=names[:15]))


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0])
def test_probabilities_that_are_all_equal_are_drawn(value: float) -> None:
    assert_drawn(evaluation_picture(evaluation(probability=np.full(40, value))))


def test_a_perfect_model_is_drawn() -> None:
    assert_drawn(evaluation_picture(evaluation(probability=(np.arange(40) % 2).astype(float))))


@pytest.mark.parametrize(
    "name",
    ["", "$", r"$\bad{$", "_hidden", "<script>", "100%", "two\nlines", "色 β", "😀", "x" * 1000, "3", "nan", "a & b"],
    ids=ascii,
)
def test_a_feature_may_have_any_name(name: str) -> None:
    """No name is read as a formula, warns, or leaves no room for the bars."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_drawn(evaluation_picture(evaluation(features=("alcohol", name))))


def test_a_name_that_is_too_long_is_cut_so_that_it_can_be_told_from_others() -> None:
    long, longer = (evaluation_picture(evaluation(features=(first + "x" * 100,))) for first in "ab")
    assert long != longer


def test_a_feature_that_does_harm_is_drawn_in_another_colour() -> None:
    helpful, harmful = (
        evaluation_picture(Evaluation(**{**vars(evaluation()), "importances": (Importance("hue", mean, 0.0),)}))
        for mean in (0.1, -0.1)
    )
    red = np.array([0xB9, 0x1C, 0x1C]) / 255
    counts = [int((np.abs(pixels(picture)[:, :, :3] - red).max(axis=2) < 0.01).sum()) for picture in (helpful, harmful)]
    assert counts[0] == 0
    assert counts[1] > 1000


def test_equal_evaluations_give_equal_pictures() -> None:
    """Nothing in the file tells when it was made, or by which version."""
    picture = evaluation_picture(evaluation())
    assert picture == evaluation_picture(evaluation())
    assert b"Software" not in picture
    assert b"tIME" not in picture


def test_pictures_can_be_drawn_in_a_thread_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    drawn: list[bytes] = []
    thread = threading.Thread(target=lambda: drawn.append(evaluation_picture(evaluation())))
    thread.start()
    thread.join()
    assert_drawn(drawn[0])
