import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wine_assets.errors import ConfigurationError
from wine_assets.search.objective import Direction
from wine_assets.search.space import Candidate
from wine_assets.search.strategies import BayesianStrategy, GridStrategy, RandomStrategy, Strategy, strategy
from wine_assets.search.study import FORESEEN_TRIALS, PRUNING_TRIALS, Budget, Failures, Study
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets_tests.support.search_builders import FAMILY, between, choice, space, trial_result

STRENGTH = between(1e-4, 1e2, log=True)


class Numbered:
    """Candidates whose C is one more than their number, up to some number; it knows what it was told."""

    def __init__(self, size: int | None = None, *, prunes: bool = False) -> None:
        self.size, self.prunes, self.learns = size, prunes, prunes
        self.told: list[TrialResult] = []

    def ask(self, number: int) -> Candidate | None:
        return None if self.size is not None and number >= self.size else Candidate(FAMILY, {"C": float(number + 1)})

    def tell(self, outcome: TrialResult) -> None:
        self.told.append(outcome)


def make_study(
    chosen: Strategy | None = None, retries: int = 0, direction: Direction = Direction.MINIMIZE, **given: Any
) -> Study:
    """Return a study; what isn't said of it is of its budget."""
    own = {name: given.pop(name) for name in ("record", "clock", "numbers") if name in given}
    return Study(chosen or Numbered(), Budget(**given), retries, direction, **own)


def scored(trial: Trial, *scores: float) -> TrialResult:
    return TrialResult(trial.number, trial.attempt, trial.family, trial.parameters, "finished", scores)


def course(study: Study, came: Callable[[Trial], TrialResult], workers: int = 1) -> list[Trial]:
    """Return every trial that is handed out to so many workers, of which the one that waited longest is done first."""
    handed: list[Trial] = []
    running: list[Trial] = []
    while True:
        while len(running) < workers and (trial := study.ask()) is not None:
            handed.append(trial)
            running.append(trial)
        if not running:
            return handed
        study.tell(came(running.pop(0)))


# --- budget ------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_as_many_trials_are_handed_out_as_the_budget_has(workers: int) -> None:
    study = make_study(trials=7)
    handed = course(study, lambda trial: scored(trial, 0.5), workers)
    assert [trial.number for trial in handed] == [*range(7)]
    assert [found.number for found in study.results()] == [*range(7)]


def test_a_strategy_may_have_fewer_candidates_than_the_budget_has_trials() -> None:
    study = make_study(Numbered(3), trials=7)
    assert (study.total, study.left()) == (3, 3)
    assert len(course(study, lambda trial: scored(trial, 0.5))) == 3
    assert study.left() == 0
    assert study.ask() is None


def test_a_search_that_only_time_ends_has_no_known_total() -> None:
    study = make_study(seconds=5)
    assert (study.total, study.left()) == (None, None)


def test_no_trial_is_begun_when_the_seconds_are_over_and_none_is_tried_again() -> None:
    now = [100.0]
    study = make_study(retries=5, seconds=10, clock=lambda: now[0])
    first = study.ask()
    assert first is not None
    now[0] = 110.0
    second = study.ask()
    assert second is not None
    now[0] = 110.1
    assert study.ask() is None
    study.tell(failed(first, "late"))
    study.tell(scored(second, 0.5))
    assert study.ask() is None
    assert [found.state for found in study.results()] == ["failed", "finished"]


@pytest.mark.parametrize("workers", [1, 2, 5, 16])
def test_patience_ends_a_search_at_the_same_trial_whatever_the_number_of_workers(workers: int) -> None:
    losses = [0.9, 0.5, 0.7, 0.4, 0.6, 0.4, 0.45, 0.1, *[0.05] * 20]
    study = make_study(trials=28, patience=3)
    handed = course(study, lambda trial: scored(trial, losses[trial.number]), workers)
    assert study.stopped_at == 7
    assert [found.number for found in study.results()] == [*range(7)]
    assert len(handed) < 7 + workers


def test_trials_that_fail_try_the_patience_as_well() -> None:
    study = make_study(trials=20, patience=4)
    course(study, lambda trial: failed(trial, "no"))
    assert study.stopped_at == 4


def test_more_is_better_with_the_other_sign() -> None:
    study = make_study(direction=Direction.MAXIMIZE, trials=20, patience=2)
    course(study, lambda trial: scored(trial, trial.number / 10 if trial.number < 5 else 0.0))
    assert study.stopped_at == 7
    assert study.best == 0.4


def test_what_failed_before_patience_ran_out_is_not_tried_again_after_it() -> None:
    study = make_study(retries=1, trials=20, patience=2)
    trials = [study.ask() for _ in range(4)]
    assert all(trials)
    study.tell(failed(trials[3], "no"))  # type: ignore[arg-type]
    for trial in trials[:3]:
        study.tell(scored(trial, 0.5))  # type: ignore[arg-type]
    assert study.stopped_at == 3
    assert study.ask() is None


def test_there_is_no_best_before_the_first_score() -> None:
    study = make_study(trials=2)
    assert study.best is None
    course(study, lambda trial: failed(trial, "no"))
    assert study.best is None


# --- failures ----------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_trial_that_fails_is_tried_again_as_often_as_configured(retries: int) -> None:
    recorded: list[TrialResult] = []
    study = make_study(retries=retries, trials=2, record=recorded.append)
    handed = course(study, lambda trial: failed(trial, f"attempt {trial.attempt}"))
    assert [(trial.number, trial.attempt) for trial in handed] == [
        (number, attempt) for number in range(2) for attempt in range(1, retries + 2)
    ]
    assert [found.reason for found in recorded[: retries + 1]] == [f"attempt {n + 1}" for n in range(retries + 1)]
    assert [found.attempt for found in study.results()] == [retries + 1] * 2


def test_a_trial_that_comes_to_a_score_when_tried_again_has_one() -> None:
    chosen = Numbered()
    study = make_study(chosen, retries=2, trials=1)
    course(study, lambda trial: failed(trial, "no") if trial.attempt < 3 else scored(trial, 0.5))
    assert [(found.state, found.attempt) for found in study.results()] == [("finished", 3)]
    assert [found.state for found in chosen.told] == ["finished"]


def test_every_attempt_is_recorded_and_the_strategy_is_told_of_the_last() -> None:
    recorded: list[TrialResult] = []
    chosen = Numbered()
    course(make_study(chosen, retries=1, trials=1, record=recorded.append), lambda trial: failed(trial, "no"))
    assert [found.attempt for found in recorded] == [1, 2]
    assert [found.attempt for found in chosen.told] == [2]


# --- going on ----------------------------------------------------------------


def test_what_was_run_before_is_not_handed_out() -> None:
    study = make_study(trials=5)
    study.recall([trial_result(1, 0.5, C=2.0), trial_result(3, 0.4, C=4.0)])
    assert study.left() == 3
    assert [trial.number for trial in course(study, lambda trial: scored(trial, 0.9))] == [0, 2, 4]
    assert [found.mean for found in study.results()] == [0.9, 0.5, 0.9, 0.4, 0.9]


def test_an_attempt_that_failed_before_counts_and_the_next_one_goes_on_from_it() -> None:
    study = make_study(retries=2, trials=2)
    study.recall([trial_result(0, state="failed", attempt=1), trial_result(0, state="failed", attempt=2)])
    handed = course(study, lambda trial: failed(trial, "no"))
    assert [(trial.number, trial.attempt) for trial in handed] == [(0, 3), (1, 1), (1, 2), (1, 3)]


def test_a_trial_that_failed_for_good_before_is_not_tried_again_unless_more_retries_are_asked_for() -> None:
    before = [trial_result(0, state="failed", attempt=1), trial_result(0, state="failed", attempt=2)]
    same, more = make_study(retries=1, trials=1), make_study(retries=2, trials=1)
    same.recall(before)
    more.recall(before)
    assert same.ask() is None
    assert [found.reason for found in same.results()] == ["why 0"]
    assert more.ask() == Trial(0, FAMILY, {"C": 1.0}, 3)


def test_a_trial_that_came_to_a_score_after_it_failed_has_it_whatever_retries_are_asked_for() -> None:
    study = make_study(retries=0, trials=1)
    study.recall([trial_result(0, state="failed"), trial_result(0, 0.5, attempt=2)])
    assert [found.mean for found in study.results()] == [0.5]


def test_a_failure_that_there_was_no_time_to_try_again_counts_when_it_is_recalled() -> None:
    study = make_study(retries=1, trials=2)
    study.recall([trial_result(0, state="failed"), trial_result(1, 0.5)])
    assert [found.state for found in study.results()] == ["failed", "finished"]
    trial = study.ask()
    assert trial is not None
    assert (trial.number, trial.attempt) == (0, 2)


def test_an_outcome_that_is_recalled_twice_counts_once() -> None:
    chosen = Numbered()
    study = make_study(chosen, trials=1)
    study.recall([trial_result(0, 0.5), trial_result(0, 0.7)])
    assert [found.mean for found in study.results()] == [0.5]
    assert len(chosen.told) == 1


def test_a_search_that_is_asked_for_fewer_trials_than_were_run_counts_those_alone() -> None:
    """Its result is what it would be if no more had ever been asked for."""
    study = make_study(trials=2)
    study.recall([trial_result(number, 1.0 - number / 10) for number in range(5)])
    assert [found.number for found in study.results()] == [0, 1]
    assert (study.best, study.left(), study.ask()) == (0.9, 0, None)


def test_patience_that_ran_out_before_has_run_out() -> None:
    study = make_study(trials=20, patience=2)
    study.recall([trial_result(0, 0.5), trial_result(1, 0.6), trial_result(2, 0.7), trial_result(3, 0.1)])
    assert (study.stopped_at, study.ask()) == (3, None)


@given(lost=st.sets(st.integers(0, 11)), order=st.permutations(range(12)), patience=st.none() | st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_a_search_that_goes_on_comes_to_what_it_would_have(lost: set[int], order: list[int], patience: Any) -> None:
    """Whichever trials the journal has, and in whichever order they ended."""
    losses = [0.5, 0.4, 0.45, 0.44, 0.3, 0.6, 0.3, 0.2, 0.9, 0.8, 0.7, 0.1]
    whole = make_study(trials=12, patience=patience)
    course(whole, lambda trial: scored(trial, losses[trial.number]))
    resumed = make_study(trials=12, patience=patience)
    resumed.recall(scored(Trial(n, FAMILY, {"C": n + 1.0}), losses[n]) for n in order if n not in lost)
    course(resumed, lambda trial: scored(trial, losses[trial.number]), workers=3)
    assert resumed.results() == whole.results()


def test_a_bayesian_search_with_one_worker_goes_on_as_if_it_had_not_been_stopped() -> None:
    """Candidates, pruning_thresholds and attempts, at whichever trial it was stopped."""

    def make(record: Callable[[TrialResult], None] = lambda _: None) -> Study:
        chosen = strategy(BayesianStrategy(startup_trials=4), space(C=STRENGTH), Direction.MINIMIZE)
        return Study(chosen, Budget(trials=16), 1, Direction.MINIMIZE, record=record)

    def came(trial: Trial) -> TrialResult:
        if trial.number % 6 == 5 and trial.attempt == 1:
            return failed(trial, "no")
        return scored(trial, abs(trial.parameters["C"] - 1), 0.5)

    journal: list[TrialResult] = []
    whole = course(make(journal.append), came)
    for cut in range(0, len(journal), 3):
        resumed = make()
        resumed.recall(journal[:cut])
        assert course(resumed, came) == whole[cut:]


# --- numbers, learning -------------------------------------------------------


def test_a_step_runs_its_own_numbers_alone() -> None:
    study = make_study(trials=8, numbers=range(4, 20))
    assert [trial.number for trial in course(study, lambda trial: scored(trial, 0.5))] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("params", "learns"), [(GridStrategy(), False), (RandomStrategy(), False), (BayesianStrategy(prune=False), True)]
)
def test_it_says_whether_the_next_trial_depends_on_the_last(params: Any, learns: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert make_study(strategy(params, space(C=choice(1, 2)), Direction.MINIMIZE)).learns == learns


# --- giving up ---------------------------------------------------------------


def folds() -> Iterator[tuple[float, float, float]]:
    return ((float(n), float(n + 2), float(n + 4)) for n in itertools.count())


def test_thresholds_are_the_medians_of_the_means_after_each_fold_but_the_last() -> None:
    study = make_study(Numbered(prunes=True), trials=9)
    scores = folds()
    handed = course(study, lambda trial: scored(trial, *next(scores)))
    assert {trial.pruning_thresholds for trial in handed[:PRUNING_TRIALS]} == {()}
    assert handed[5].pruning_thresholds == (2.0, 3.0)
    assert handed[7].pruning_thresholds == (3.0, 4.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=PRUNING_TRIALS, max_size=40))
def test_thresholds_are_medians_in_whichever_order_the_losses_came(losses: list[float]) -> None:
    study = make_study(Numbered(prunes=True), trials=99)
    study.recall(trial_result(number, loss, loss) for number, loss in enumerate(losses))
    trial = study.ask()
    assert trial is not None
    assert trial.pruning_thresholds == (statistics.median(losses),)


def test_thresholds_are_losses() -> None:
    study = make_study(Numbered(prunes=True), direction=Direction.MAXIMIZE, trials=6)
    scores = folds()
    handed = course(study, lambda trial: scored(trial, *next(scores)))
    assert handed[5].pruning_thresholds == (-2.0, -3.0)


def test_thresholds_count_trials_of_an_earlier_run_and_none_that_failed_or_was_given_up() -> None:
    study = make_study(Numbered(prunes=True), trials=9)
    study.recall(trial_result(n, float(n), float(n)) for n in range(5))
    study.recall([trial_result(5, state="failed"), trial_result(6, 99.0, state="pruned")])
    trial = study.ask()
    assert trial is not None
    assert (trial.number, trial.pruning_thresholds) == (7, (2.0,))


def test_a_strategy_that_does_not_prune_has_no_thresholds() -> None:
    study = make_study(trials=9)
    assert {trial.pruning_thresholds for trial in course(study, lambda trial: scored(trial, 1.0, 2.0))} == {()}


# --- configs -----------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"trials": 0}, {"trials": 1_000_001}, {"seconds": 0}, {"patience": 0}])
def test_a_budget_that_can_not_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"budget.{next(iter(fields))}"):
        Budget(**fields)


@pytest.mark.parametrize(
    "fields", [{"retries": -1}, {"timeout_s": 0}, {"memory_mib": 1}, {"min_success_ratio": 1.5}, {"retry": 1}]
)
def test_failures_that_can_not_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"failures.{next(iter(fields))}"):
        Failures(**fields)


# --- order -------------------------------------------------------------------


def test_who_asks_for_the_most_complex_has_them_first_and_none_twice() -> None:
    study = make_study(Numbered(4))
    begun = [study.ask(complex_first=first) for first in (True, False, True, False, True, False)]
    assert [trial and trial.number for trial in begun] == [3, 0, 2, 1, None, None]


def test_the_most_complex_of_a_part_is_of_that_part() -> None:
    study = make_study(trials=10, numbers=range(4, 7))
    assert [trial and trial.number for trial in (study.ask(complex_first=True) for _ in range(4))] == [
        6,
        5,
        4,
        None,
    ]


@pytest.mark.parametrize(
    ("chosen", "budget"),
    [
        (Numbered(), {}),
        (Numbered(), {"trials": FORESEEN_TRIALS + 1}),
        (Numbered(), {"trials": 9, "patience": 3}),
        (Numbered(), {"trials": 9, "seconds": 60.0}),
        (Numbered(9, prunes=True), {}),
    ],
    ids=["no end", "too many", "patience", "seconds", "learns"],
)
def test_trials_that_may_be_left_out_are_handed_out_in_order(chosen: Numbered, budget: dict[str, Any]) -> None:
    study = make_study(chosen, **budget)
    assert [trial and trial.number for trial in (study.ask(complex_first=True) for _ in range(3))] == [0, 1, 2]


def test_a_candidate_that_its_family_refuses_is_handed_out_last() -> None:
    class Refused(Numbered):
        def ask(self, number: int) -> Candidate | None:
            return Candidate(FAMILY, {"C": float(number - 1)}) if number < 3 else None

    study = make_study(Refused(3))
    assert [trial and trial.number for trial in (study.ask(complex_first=True) for _ in range(3))] == [2, 0, 1]
