import math
import statistics

import msgspec
import pytest

from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets_tests.support.search_builders import FAMILY, trial, trial_result


def test_the_mean_and_its_standard_error_are_over_folds() -> None:
    scores = (0.5, 0.75, 0.7, 0.9)
    found = trial_result(0, *scores)
    assert found.mean == pytest.approx(statistics.mean(scores))
    assert found.standard_error == pytest.approx(statistics.stdev(scores) / 2)


def test_one_score_has_no_spread_and_none_has_no_mean() -> None:
    assert trial_result(0, 0.5).mean == 0.5
    assert math.isnan(trial_result(0, 0.5).standard_error)
    assert math.isnan(trial_result(0).mean)


def test_equal_scores_have_no_error() -> None:
    assert trial_result(0, 0.25, 0.25, 0.25).standard_error == 0


def test_an_outcome_has_the_candidate_of_its_trial() -> None:
    asked = trial(3, C=2.0)
    assert failed(asked, "why").candidate == asked.candidate


def test_a_failure_says_why_and_what_it_took() -> None:
    again = Trial(3, FAMILY, {"C": 2.0}, 2, (0.5,))
    expected = TrialResult(3, 2, FAMILY, {"C": 2.0}, "failed", seconds=1.5, memory_mib=7.0, reason="why")
    assert failed(again, "why", 1.5, 7.0) == expected


def test_an_outcome_is_the_same_after_it_was_written_and_read() -> None:
    found = trial_result(1, 1 / 3, 2 / 3, attempt=2, C=0.1, solver="saga", fit_intercept=True, max_iter=7)
    assert msgspec.json.decode(msgspec.json.encode(found), type=TrialResult) == found
