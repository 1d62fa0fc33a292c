import math
from typing import Any

import numpy as np
import pytest

from wine_assets.errors import FailedSearchError
from wine_assets.models.registry import families
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.result import SearchResult
from wine_assets.search.trials import TrialResult
from wine_assets_tests.support.search_builders import trial_result


def result(*outcomes: TrialResult, **objective: Any) -> SearchResult:
    return SearchResult(outcomes, ObjectiveParams(**{"folds": 2, **objective}))


MIXED = result(
    trial_result(0, 0.3, 0.5, C=1.0),
    trial_result(1, state="failed", C=2.0, attempt=2),
    trial_result(2, 0.6, state="pruned", C=3.0, tol=0.1),
    trial_result(3, 0.35, 0.39, C=4.0),
)


# --- the best and the simplest -----------------------------------------------


def test_the_best_has_the_least_loss_and_of_equal_ones_the_first() -> None:
    assert MIXED.best.number == 3
    assert (
        result(trial_result(4, 0.3, C=1.0), trial_result(2, 0.3, C=1.0), trial_result(7, 0.4, C=1.0)).best.number == 2
    )


def test_more_accuracy_is_better() -> None:
    found = result(trial_result(0, 0.9, 0.8, C=1.0), trial_result(1, 0.95, 0.9, C=1.0), metric="accuracy")
    assert found.best.number == 1
    assert found.loss(found.best) == pytest.approx(-0.925)


def test_a_trial_without_a_score_is_infinitely_bad() -> None:
    assert [MIXED.loss(found) for found in MIXED.trials[1:3]] == [math.inf, math.inf]


def test_the_simplest_is_the_most_regularized_within_one_standard_error_of_the_best() -> None:
    """The best one's error is 0.01; of those within it, the one with the smallest C is the simplest."""
    found = result(
        trial_result(0, 0.19, 0.21, C=10.0),
        trial_result(1, 0.20, 0.21, C=1.0),
        trial_result(2, 0.20, 0.2199, C=0.5),
        trial_result(3, 0.20, 0.23, C=0.1),
    )
    assert found.best.standard_error == pytest.approx(0.01)
    assert (found.best.number, found.simplest.number) == (0, 2)


def test_of_equally_simple_ones_the_better_is_chosen() -> None:
    found = result(
        trial_result(0, 0.1, 0.3, C=1.0, tol=0.1),
        trial_result(1, 0.1, 0.2, C=1.0, tol=0.2),
        trial_result(2, 0.1, C=9.0),
    )
    assert found.simplest.number in (1, 2)
    assert result(*found.trials[:2]).simplest.number == 1


def test_without_a_spread_the_simplest_is_as_good_as_the_best() -> None:
    found = result(trial_result(0, 0.2, C=10.0), trial_result(1, 0.2, C=5.0), trial_result(2, 0.2000001, C=1.0))
    assert found.simplest.number == 1


def test_a_family_that_is_named_first_is_simpler() -> None:
    if "gradient_boosting" not in families():
        pytest.skip("there is only one family")
    boosted = TrialResult(0, 1, "gradient_boosting", {}, "finished", (0.1, 0.3))
    assert result(boosted, trial_result(1, 0.2, 0.25, C=100.0)).simplest.number == 1


# --- success -----------------------------------------------------------------


@pytest.mark.parametrize(("failures", "ratio", "succeeds"), [(0, 1.0, True), (1, 1.0, False), (2, 0.5, True)])
def test_enough_trials_have_to_come_to_a_score(failures: int, ratio: float, succeeds: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = result(
        *(
            trial_result(n, *([] if n < failures else [0.5]), state="failed" if n < failures else "finished")
            for n in range(4)
        )
    )
    if succeeds:
        found.require(ratio)
    else:
        with pytest.raises(
            FailedSearchError, match=r"1 of 4 trials failed, and `failures.min_success_ratio` is 1\. why 0"
        ):
            found.require(ratio)


def test_a_trial_that_was_given_up_did_not_fail() -> None:
    result(trial_result(0, 0.5), trial_result(1, 0.6, state="pruned")).require(1.0)


@pytest.mark.parametrize(
    "outcomes",
    [[], [trial_result(0, state="failed")], [trial_result(0, 0.5, state="pruned")]],
    ids=["none", "failed", "pruned"],
)
def test_a_search_without_a_score_has_failed_whatever_is_asked_for(outcomes: list[TrialResult]) -> None:
    with pytest.raises(
        FailedSearchError, match=r"why 0|No trial was (finished|begun before the time was up. Raise `budget.seconds`)"
    ):
        result(*outcomes).require(0.0)


def test_reasons_are_named_once_and_no_more_than_three() -> None:
    reasons = ["a.", "b.", "a.", "c.", "d.", "e."]
    outcomes = [
        TrialResult(n, 1, "logistic_regression", {}, "failed", reason=reason) for n, reason in enumerate(reasons)
    ]
    with pytest.raises(FailedSearchError, match=r" a\. b\. c\. And 2 more reasons\. Narrow the space"):
        result(*outcomes).require(0.5)


# --- what is told ------------------------------------------------------------


def test_the_table_has_a_row_a_trial_and_a_column_a_hyperparameter() -> None:
    table = MIXED.table()
    assert table["number"].tolist() == [0, 1, 2, 3]
    assert table["state"].tolist() == ["finished", "failed", "pruned", "finished"]
    assert table["C"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert table["tol"].isna().tolist() == [True, True, False, True]
    assert table["mean"].tolist() == pytest.approx([0.4, math.nan, 0.6, 0.37], nan_ok=True)
    assert table["fold_1"].tolist() == pytest.approx([0.5, math.nan, math.nan, 0.39], nan_ok=True)
    assert table["reason"].tolist() == ["", "why 1", "why 2", ""]
    assert table["attempt"].tolist() == [1, 2, 1, 1]
    assert table["parameters"].tolist()[2] == '{"C": 3.0, "tol": 0.1}'


def test_the_table_has_a_column_a_fold_and_repeat() -> None:
    table = result(trial_result(0, *np.linspace(0, 1, 6)), folds=3, repeats=2).table()
    assert [name for name in table if name.startswith("fold_")] == [f"fold_{fold}" for fold in range(6)]


def test_the_summary_counts_and_names_the_best_and_the_simplest() -> None:
    summary = MIXED.summary()
    counts = {name: summary[name] for name in ("metric", "trials", "finished", "pruned", "failed")}
    assert counts == {"metric": "log_loss", "trials": 4, "finished": 2, "pruned": 1, "failed": 1}
    assert (summary["best"]["number"], summary["best"]["searched"]) == (3, {"C": 4.0})
    assert summary["best"]["hyperparameters"]["C"] == 4.0
    assert summary["best"]["hyperparameters"]["solver"] == "lbfgs"
    assert summary["best"]["mean"] == pytest.approx(0.37)
    assert summary["simplest"]["number"] == 3
