import math
import os
import sys
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wine_assets.errors import ConfigurationError, MissingExtraError
from wine_assets.search.objective import Direction
from wine_assets.search.space import Candidate, FamilySpace, Space
from wine_assets.search.strategies import (
    Bayesian,
    BayesianStrategy,
    GridStrategy,
    RandomStrategy,
    Strategy,
    StrategyParams,
    strategy,
)
from wine_assets.search.trials import State, TrialResult
from wine_assets_tests.support.search_builders import between, choice, family_space, grid, space

WIDE = {
    "C": between(1e-4, 1e2, log=True),
    "tol": between(1e-6, 0.5),
    "max_iter": between(10, 1000, "int", log=True),
    "random_state": between(0, 9, "int"),
    "solver": choice("lbfgs", "saga", "newton-cg"),
    "fit_intercept": choice(True, False),
}


def made(
    params: StrategyParams | None = None, searched: Space | None = None, direction: Direction = Direction.MINIMIZE
) -> Strategy:
    return strategy(params or BayesianStrategy(), searched or space(**WIDE), direction)


def asked(chosen: Strategy, number: int) -> Candidate:
    candidate = chosen.ask(number)
    assert candidate is not None
    return candidate


def loss(candidate: Candidate) -> float:
    """Return a bowl whose bottom is at C = 1, with solver saga."""
    C, solver = candidate.parameters["C"], candidate.parameters.get("solver", "saga")
    return float(math.log10(C) ** 2) + (0 if solver == "saga" else 0.5)


def came_of(
    number: int, candidate: Candidate, state: State = "finished", direction: Direction = Direction.MINIMIZE
) -> TrialResult:
    scores = () if state == "failed" else (direction * loss(candidate), direction * loss(candidate))
    return TrialResult(number, 1, candidate.family, dict(candidate.parameters), state, scores)


def course(chosen: Strategy, numbers: range, direction: Direction = Direction.MINIMIZE) -> list[Candidate]:
    """Return the candidates of a search with one worker; every seventh fails, every fifth is given up."""
    found = []
    for number in numbers:
        candidate = asked(chosen, number)
        chosen.tell(came_of(number, candidate, state_of(number), direction))
        found.append(candidate)
    return found


def state_of(number: int) -> State:
    return "failed" if number % 7 == 6 else "pruned" if number % 5 == 4 else "finished"


# --- grid --------------------------------------------------------------------


def test_a_grid_hands_out_each_combination_once_in_order() -> None:
    searched = space(C=choice(1, 2), tol=choice(0.1, 0.2))
    chosen = made(GridStrategy(), searched)
    assert [chosen.ask(number) for number in range(5)] == [*grid(searched), None]
    assert chosen.size == 4
    assert not chosen.learns
    assert not chosen.prunes


def test_a_grid_and_draws_at_random_take_no_note_of_outcomes() -> None:
    searched = space(C=choice(1, 2, 3))
    for params in (GridStrategy(), RandomStrategy()):
        told, untold = made(params, searched), made(params, searched)
        told.tell(came_of(0, asked(told, 0)))
        assert [told.ask(number) for number in range(3)] == [untold.ask(number) for number in range(3)]


# --- random ------------------------------------------------------------------


def test_a_draw_is_a_function_of_the_seed_and_its_number_alone() -> None:
    one, other = made(RandomStrategy(seed=5)), made(RandomStrategy(seed=5))
    assert [one.ask(number) for number in range(20)] == [other.ask(number) for number in reversed(range(20))][::-1]


def test_other_seeds_give_other_draws() -> None:
    searched = space(**WIDE)
    chosen = [made(RandomStrategy(seed=seed), searched) for seed in range(10)]
    draws = {asked(one, number).key for one in chosen for number in range(10)}
    assert len(draws) == 100


def test_draws_cover_the_space() -> None:
    chosen = made(RandomStrategy())
    found = [asked(chosen, number).parameters for number in range(400)]
    assert Counter(math.floor(math.log10(values["C"])) for values in found) == pytest.approx(
        dict.fromkeys(range(-4, 2), 400 / 6), abs=30
    )
    assert {values["solver"] for values in found} == {"lbfgs", "saga", "newton-cg"}
    assert {values["random_state"] for values in found} == {*range(10)}


def test_draws_have_no_end() -> None:
    assert made(RandomStrategy()).size is None
    assert made(RandomStrategy()).ask(10**6) is not None


@given(seed=st.integers(0, 99), order=st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_random_repeats_no_candidate(seed: int, order: list[int]) -> None:
    """A finite space is drawn whole, each candidate once, the same for each number whichever is asked for first."""
    finite = space(C=choice(1.0, 2.0), max_iter=between(1, 3, "int"), solver=choice("lbfgs", "saga"))
    chosen, again = made(RandomStrategy(seed=seed), finite), made(RandomStrategy(seed=seed), finite)
    draws = {number: asked(chosen, number) for number in order}
    assert len({draw.key for draw in draws.values()}) == chosen.size == 12
    assert chosen.ask(12) is None
    assert [again.ask(number) for number in range(12)] == [draws[number] for number in range(12)]


def test_random_exhausts_a_finite_family() -> None:
    """Beside a family with an infinite space, one with two candidates is drawn twice and no more."""
    infinite = family_space(C=between(1e-4, 1e2, log=True))
    two = family_space(max_iter=choice(1, 2))
    chosen = made(RandomStrategy(), Space.checked({"logistic_regression": infinite, "gradient_boosting": two}))
    draws = [asked(chosen, number) for number in range(30)]
    assert chosen.size is None
    assert sum(draw.family == "gradient_boosting" for draw in draws) == 2


# --- bayesian ----------------------------------------------------------------


def test_the_same_outcomes_lead_to_the_same_draws() -> None:
    assert course(made(), range(30)) == course(made(), range(30))


def test_another_seed_leads_elsewhere() -> None:
    first, second = (course(made(BayesianStrategy(seed=seed)), range(15)) for seed in (0, 1))
    assert not {candidate.key for candidate in first} & {candidate.key for candidate in second}


@pytest.mark.parametrize("cut", [3, 10, 17, 29])
def test_a_search_that_goes_on_draws_what_it_would_have_drawn(cut: int) -> None:
    """At whichever trial it was cut: among the first draws, at their end, or after them."""
    whole = course(made(), range(40))
    resumed = made()
    for number, candidate in enumerate(whole[:cut]):
        resumed.tell(came_of(number, candidate, state_of(number)))
    assert course(resumed, range(cut, 40)) == whole[cut:]


def test_it_finds_what_draws_at_random_do_not() -> None:
    narrow = space(C=between(1e-4, 1e2, log=True), solver=choice("lbfgs", "saga", "newton-cg"))
    learned = min(map(loss, course(made(searched=narrow), range(60))))
    guessed = sorted(map(loss, course(made(RandomStrategy(), narrow), range(60))))
    assert learned < guessed[0]


@pytest.mark.parametrize("direction", [*Direction])
def test_the_direction_says_which_scores_are_better(direction: Direction) -> None:
    """Scores that are maximized are minus a loss, and lead to the same draws."""
    assert course(made(direction=direction), range(30), direction) == course(
        made(direction=Direction.MINIMIZE), range(30)
    )


def test_the_first_draws_are_at_random() -> None:
    searched = space(**WIDE)
    first = course(made(BayesianStrategy(seed=3, startup_trials=5), searched), range(6))
    random = [made(RandomStrategy(seed=3), searched).ask(number) for number in range(6)]
    assert first[:5] == random[:5]
    assert first[5] != random[5]


def test_draws_side_by_side_differ() -> None:
    """Eight workers that ask one after the other, with no outcome in between, are given eight candidates apart."""
    chosen = made(searched=space(C=between(1e-4, 1e2, log=True)))
    course(chosen, range(20))
    batch = [math.log10(asked(chosen, number).parameters["C"]) for number in range(20, 28)]
    assert min(abs(a - b) for place, a in enumerate(batch) for b in batch[:place]) > 1e-3
    assert max(batch) - min(batch) > 0.5


def test_no_candidate_is_tried_twice_and_a_small_space_has_an_end() -> None:
    chosen = made(BayesianStrategy(startup_trials=2), space(solver=choice("lbfgs", "saga"), C=choice(1, 2, 3)))
    found: list[object] = []
    while (candidate := chosen.ask(len(found))) is not None:
        chosen.tell(came_of(len(found), candidate))
        found.append(candidate.key)
    assert len({*found}) == len(found) == 6


def test_what_an_earlier_run_tried_is_not_tried_again() -> None:
    searched = space(C=choice(1, 2))
    chosen = made(searched=searched)
    first = searched.combination(0)
    chosen.tell(came_of(0, first))
    second = asked(chosen, 1)
    assert second.key != first.key
    assert chosen.ask(2) is None


def test_outcomes_of_all_kinds_are_what_optuna_knows_of_them() -> None:
    told, recalled = (Bayesian(space(**WIDE), BayesianStrategy(), Direction.MINIMIZE) for _ in range(2))
    for number, candidate in enumerate(course(told, range(15))):
        recalled.tell(came_of(number, candidate, state_of(number)))
    one, other = (
        [(trial.state, trial.params, trial.distributions, trial.intermediate_values) for trial in study.trials]
        for study in (told.study, recalled.study)
    )
    assert one == other
    assert {trial.state.name for trial in told.study.trials} == {"COMPLETE", "PRUNED", "FAIL"}


def test_five_hundred_draws_are_chosen_in_seconds() -> None:
    """What one is chosen from grows; a draw of a search that long is still far cheaper than a fit."""
    chosen = made(searched=space(C=between(1e-4, 1e2, log=True), solver=choice("lbfgs", "saga")))
    for number in range(490):
        candidate = Candidate("logistic_regression", {"C": 1e-4 * 1.028**number, "solver": "saga"})
        chosen.tell(came_of(number, candidate))
    began = time.process_time()
    course(chosen, range(490, 500))
    assert (time.process_time() - began) / 10 < 0.25


def test_pruning_can_be_switched_off() -> None:
    assert made(BayesianStrategy()).prunes
    assert not made(BayesianStrategy(prune=False)).prunes
    assert made(BayesianStrategy(prune=False)).learns


# --- gaussian process --------------------------------------------------------

STRENGTH = {"C": between(1e-4, 1e2, log=True)}


@pytest.fixture
def gaussian() -> BayesianStrategy:
    if os.environ.get("REQUIRE_SYSTEM") != "1":
        pytest.importorskip("torch", reason="the extra `gp` isn't installed")
    return BayesianStrategy(sampler="gp", startup_trials=4)


def test_a_gaussian_process_comes_closer_than_draws_at_random(gaussian: BayesianStrategy) -> None:
    learned = min(map(loss, course(made(gaussian, space(**STRENGTH)), range(16))))
    guessed = min(map(loss, course(made(RandomStrategy(), space(**STRENGTH)), range(16))))
    assert learned < guessed / 10


def test_a_search_by_a_gaussian_process_that_goes_on_draws_what_it_would_have_drawn(gaussian: BayesianStrategy) -> None:
    whole = course(made(gaussian), range(10))
    resumed = made(gaussian)
    for number, candidate in enumerate(whole[:7]):
        resumed.tell(came_of(number, candidate, state_of(number)))
    assert course(resumed, range(7, 10)) == whole[7:]


def test_draws_of_a_gaussian_process_side_by_side_differ(gaussian: BayesianStrategy) -> None:
    chosen = made(gaussian, space(**STRENGTH))
    course(chosen, range(6))
    batch = [math.log10(asked(chosen, number).parameters["C"]) for number in range(6, 10)]
    assert min(abs(a - b) for place, a in enumerate(batch) for b in batch[:place]) > 1e-3


def test_a_gaussian_process_searches_over_families(gaussian: BayesianStrategy) -> None:
    boosting = FamilySpace(parameters={"learning_rate": between(0.01, 1.0, log=True)})
    chosen = made(
        gaussian,
        Space.checked(
            {"logistic_regression": space(**STRENGTH).families["logistic_regression"], "gradient_boosting": boosting}
        ),
    )
    found = []
    for number in range(10):
        candidate = asked(chosen, number)
        chosen.tell(TrialResult(number, 1, candidate.family, dict(candidate.parameters), "finished", (number / 10,)))
        found.append(candidate)
    assert {candidate.family for candidate in found} == {"logistic_regression", "gradient_boosting"}
    assert len({candidate.key for candidate in found}) == 10


# --- extras and bounds -------------------------------------------------------


def test_without_optuna_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"`bayesian` needs the extra `search`.*wine-assets\[search\]"):
        made(BayesianStrategy())


def test_without_torch_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"`gp` needs the extra `gp`.*wine-assets\[gp\]"):
        made(BayesianStrategy(sampler="gp"))


@pytest.mark.parametrize("fields", [{"seed": -1}, {"startup_trials": 0}, {"sampler": "cma"}, {"prune": "yes"}])
def test_a_strategy_that_can_not_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"strategy.{next(iter(fields))}"):
        BayesianStrategy(**fields)
