import math
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wine_assets.data import dataset
from wine_assets.errors import ConfigurationError, SearchError
from wine_assets.evaluation import cross_validation
from wine_assets.models.families.gradient_boosting import GradientBoostingFamily
from wine_assets.models.families.logistic_regression import LogisticRegressionFamily
from wine_assets.search.objective import Metric, Objective, ObjectiveParams, require_rows, splits
from wine_assets.search.trials import Trial
from wine_assets_tests.support.search_builders import FAMILY, trial
from wine_assets_tests.support.wine_frames import wine

METRICS = {
    "log_loss": log_loss,
    "accuracy": lambda y, probability: accuracy_score(y, probability > 0.5),
    "roc_auc": roc_auc_score,
    "brier_score": brier_score_loss,
}


def objective(**fields: Any) -> Objective:
    return Objective(*dataset.features_and_target(wine()), ObjectiveParams(**fields))


@pytest.mark.parametrize("metric", get_args(Metric))
def test_a_score_is_scikit_learn_s_on_each_held_out_fold(metric: str) -> None:
    X, y = dataset.features_and_target(wine())
    expected = []
    for train, test in RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=7).split(X, y):
        fit = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=5000))
        fit.fit(X.iloc[train], y.iloc[train])
        expected.append(METRICS[metric](y.iloc[test], fit.predict_proba(X.iloc[test])[:, 1]))
    found = objective(metric=metric, folds=3, repeats=2, seed=7).score(trial(0, C=0.5))
    assert found.state == "finished"
    assert found.scores == pytest.approx(expected)


def test_every_candidate_is_scored_on_the_same_folds() -> None:
    scored = objective()
    assert scored.score(trial(0, C=1.0)).scores == scored.score(trial(9, C=1.0)).scores


def test_equal_seeds_give_equal_scores_and_other_seeds_others() -> None:
    one, again, other = (objective(seed=seed).score(trial(C=1.0)).scores for seed in (1, 1, 2))
    assert one == again != other


def test_each_row_is_held_out_once_a_repeat() -> None:
    y = wine()["target"].to_numpy()
    held_out = np.concatenate([test for _, test in splits(y, ObjectiveParams(folds=4, repeats=3))])
    assert np.bincount(held_out).tolist() == [3] * len(y)


@pytest.mark.parametrize(
    ("folds", "nested_folds", "said"),
    [
        (
            2,
            11,
            "`search.nested_folds` is 11, but the smaller class has 10 rows, .* Set `search.nested_folds` to at most",
        ),
        (6, 2, "`objective.folds` is 6, but the smaller class keeps, beside an outer fold of 2, 5 rows, .* at most 5"),
        (8, 4, "beside an outer fold of 4, 7 rows"),
    ],
)
def test_more_folds_than_an_outer_fold_leaves_rows_for_are_refused(folds: int, nested_folds: int, said: str) -> None:
    y = np.array([0] * 10 + [1] * 20)
    with pytest.raises(SearchError, match=said):
        require_rows(y, ObjectiveParams(folds=folds), nested_folds)
    require_rows(y, ObjectiveParams(folds=5), 2)
    require_rows(y, ObjectiveParams(folds=10))


@pytest.mark.parametrize("metric", get_args(Metric))
def test_predictions_that_are_not_finite_fail_with_a_sentence(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost:
        def predict_proba(self, X: Any) -> Any:
            return np.full((len(X), 2), np.nan)

    monkeypatch.setattr(LogisticRegressionFamily, "fit", lambda *_: Lost())
    found = objective(metric=metric).score(trial(C=1.0))
    assert (found.state, found.reason) == ("failed", "A fold's predictions aren't all finite. Narrow the space.")


def test_more_folds_than_rows_of_a_class_are_refused() -> None:
    with pytest.raises(SearchError, match=r"`objective.folds` is 5, but the smaller class has 3 rows.*at most 3"):
        splits(pd.Series([0] * 10 + [1] * 3), ObjectiveParams())


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("log_loss", "MINIMIZE"), ("brier_score", "MINIMIZE"), ("accuracy", "MAXIMIZE"), ("roc_auc", "MAXIMIZE")],
)
def test_less_is_better_of_a_loss(metric: str, direction: str) -> None:
    assert ObjectiveParams.model_validate({"metric": metric}).direction.name == direction


@pytest.mark.parametrize("fields", [{"folds": 1}, {"folds": 101}, {"repeats": 0}, {"metric": "f1"}, {"seed": -1}])
def test_an_objective_that_can_not_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"objective.{next(iter(fields))}"):
        ObjectiveParams(**fields)


# --- failures ----------------------------------------------------------------


def test_what_the_model_refuses_is_a_failure_in_its_own_words() -> None:
    found = objective().score(trial(4, C=-1.0))
    assert (found.number, found.state, found.scores) == (4, "failed", ())
    assert found.reason.startswith("C must be greater than 0")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Any:
    def fit(*_: object) -> None:
        raise error

    monkeypatch.setattr(LogisticRegressionFamily, "fit", fit)
    return objective().score(trial(C=1.0))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("Solver says no.\nAnd more."), "ValueError: Solver says no."),
        (MemoryError(), "MemoryError: no more is known"),
        (FloatingPointError("underflow"), "FloatingPointError: underflow"),
        (TypeError("not a number"), "TypeError: not a number"),
        (RuntimeError("can't start new thread"), "RuntimeError: can't start new thread"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_whatever_a_fit_raises_is_a_failure(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    found = failing(monkeypatch, error)
    assert (found.state, found.reason) == ("failed", reason)


def test_an_interruption_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        failing(monkeypatch, KeyboardInterrupt())


@pytest.mark.parametrize("metric", get_args(Metric))
def test_a_score_that_is_no_number_is_a_failure(monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    class Confused:
        def predict_proba(self, X: Any) -> Any:
            return np.full((len(X), 2), math.nan)

    monkeypatch.setattr(LogisticRegressionFamily, "fit", lambda *_: Confused())
    found = objective(metric=metric).score(trial(C=1.0))
    assert found.state == "failed"
    assert found.reason


def test_a_figure_that_is_no_number_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_validation, "score", lambda *_: math.inf)
    found = objective().score(trial(C=1.0))
    assert (found.state, found.reason) == ("failed", "The log_loss of a fold is inf. Narrow the space.")


def test_a_warning_of_a_solver_is_left_to_the_fit_on_all_rows() -> None:
    assert objective().score(trial(C=1.0, max_iter=1)).state == "finished"


# --- giving up ---------------------------------------------------------------


def test_a_trial_is_given_up_after_the_fold_that_leaves_it_above_its_threshold() -> None:
    scores = objective().score(trial(C=1.0)).scores
    never, hopeless = scores[0] + 1, (scores[0] + scores[1]) / 2 - 1e-9
    found = objective().score(Trial(0, FAMILY, {"C": 1.0}, 1, (never, hopeless, never, never)))
    assert (found.state, found.scores) == ("pruned", scores[:2])
    assert found.reason == "After 2 folds it was worse than half of the trials before it."


def test_a_trial_that_is_as_good_as_its_thresholds_goes_on() -> None:
    scores = objective().score(trial(C=1.0)).scores
    means = tuple(sum(scores[: fold + 1]) / (fold + 1) for fold in range(len(scores) - 1))
    assert objective().score(Trial(0, FAMILY, {"C": 1.0}, 1, means)).state == "finished"


def test_more_is_better_of_an_accuracy_when_a_trial_is_given_up() -> None:
    """Thresholds are losses: minus the accuracy."""
    scored = objective(metric="accuracy")
    assert scored.score(Trial(0, FAMILY, {"C": 1.0}, 1, (-0.1,) * 4)).state == "finished"
    assert scored.score(Trial(0, FAMILY, {"C": 1.0}, 1, (-1.1,) * 4)).state == "pruned"


def test_nothing_is_given_up_after_its_last_fold() -> None:
    found = objective(folds=2).score(Trial(0, FAMILY, {"C": 1.0}, 1, (math.inf, -math.inf)))
    assert found.state == "finished"


# --- trials that are fitted in stages ----------------------------------------


def staged(iterations: int | None, number: int = 0, attempt: int = 1) -> Trial:
    parameters = {"max_iter": 12, "min_samples_leaf": 5, "max_features": 0.5}
    return Trial(number, "gradient_boosting", parameters, attempt, iterations=iterations)


def test_a_trial_in_stages_comes_to_the_scores_of_the_whole_fit() -> None:
    scored = objective(folds=2)
    part, whole = scored.score(staged(4)), scored.score(staged(12))
    assert (part.state, whole.state) == ("finished", "finished")
    assert part.scores != whole.scores == objective(folds=2).score(staged(None)).scores


def test_a_trial_in_stages_goes_on_where_it_was_unless_another_came_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt at the same one is another."""
    begun: list[int] = []
    advance = GradientBoostingFamily.advance

    def noted(family: Any, estimator: Any, *arguments: Any) -> Any:
        if estimator is None:
            begun.append(arguments[-1])
        return advance(family, estimator, *arguments)

    monkeypatch.setattr(GradientBoostingFamily, "advance", noted)
    scored = objective(folds=2)
    for asked in (staged(2), staged(4), staged(3, number=1), staged(6), staged(2, attempt=2)):
        scored.score(asked)
    assert begun == [2, 2, 3, 3, 6, 6, 2, 2]
