import json
from typing import Any

import pytest

from wine_assets.errors import ConfigurationError, SearchError
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.params import DEFAULT_TRIALS, SearchParams
from wine_assets.search.strategies import BayesianStrategy, GridStrategy, RandomStrategy
from wine_assets.search.study import Budget, Failures
from wine_assets_tests.support.search_builders import FAMILY, between, choice, family_space

STRENGTH = {FAMILY: family_space(C=between(1, 2))}
LIST = {FAMILY: family_space(C=choice(1, 2))}


def test_the_default_is_thirty_draws_at_random() -> None:
    assert SearchParams().strategy == RandomStrategy()
    assert SearchParams().bounded.trials == DEFAULT_TRIALS == 30


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"space": {FAMILY: family_space(c=between(1, 2))}}, "has no hyperparameter 'c'"),
        ({"space": {FAMILY: family_space(C=between(-1, 2))}}, "C must be greater than 0"),
        ({"space": {"forest": family_space()}}, "no family 'forest'"),
        ({"strategy": GridStrategy(), "space": STRENGTH}, "A grid needs a list of values for `C`"),
        ({"strategy": GridStrategy()}, "A grid needs a list of values for `C`"),
        (
            {"strategy": {"kind": "annealing"}},
            r"^`kind` of search.strategy must be one of 'grid', .*, got 'annealing'. Ch",
        ),
        ({"strategy": 3}, "^strategy must be a valid dictionary"),
        ({"strategy": {"random": {}}}, r"^search.strategy must have a field `kind`, got 'random'. Change "),
        (
            {"space": {FAMILY: {"parameters": {"C": 3}}}},
            "C: space must be a valid dictionary or instance of Distribution",
        ),
        ({"space": {FAMILY: {"fixed": {"l1_ratio": 0.5}}}}, r"a candidate \(l1_ratio=0.5\) that it refuses"),
        ({"stratgey": RandomStrategy()}, "Did you mean `strategy`"),
    ],
)
def test_what_can_not_be_searched_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        SearchParams(**fields)


def test_a_refusal_of_the_whole_search_is_of_its_own_kind() -> None:
    with pytest.raises(SearchError):
        SearchParams(strategy=GridStrategy())


def test_a_grid_needs_no_budget() -> None:
    assert SearchParams(strategy=GridStrategy(), space=LIST, budget=Budget()).budget.trials is None


def test_a_search_is_the_same_after_it_was_written_and_read() -> None:
    params = SearchParams(strategy=BayesianStrategy(seed=3), space=LIST, failures=Failures(timeout_s=2.5))
    assert SearchParams.model_validate(json.loads(json.dumps(params.model_dump(mode="json")))) == params


def test_a_search_with_another_budget_goes_on_from_the_same_trials() -> None:
    more = SearchParams(budget=Budget(trials=99, patience=3), failures=Failures(retries=5, memory_mib=512))
    assert more.identity() == SearchParams().identity()


def test_identity_of_former_journals() -> None:
    """A search has the identity that version 0.1.0 wrote beside its journal, in the former words."""
    boosting = family_space(
        learning_rate=between(0.01, 0.5, log=True),
        max_iter=between(10, 300, "int"),
        max_leaf_nodes=between(3, 63, "int", log=True),
    )
    logistic = family_space({"max_iter": 500}, C=between(0.1, 2.0), solver=choice("lbfgs", "saga"))
    spaces = SearchParams(space={"gradient_boosting": boosting, FAMILY: logistic}).identity()["space"]
    ranges = [("log_uniform", 0.01, 0.5), ("integer", 10.0, 300.0), ("log_integer", 3.0, 63.0), ("uniform", 0.1, 2.0)]
    rate, iterations, leaves, strength = (
        {"kind": kind, "low": low, "high": high, "values": []} for kind, low, high in ranges
    )
    solver = {"kind": "choice", "low": 0.0, "high": 0.0, "values": ["lbfgs", "saga"]}
    assert spaces == {
        "gradient_boosting": {
            "fixed": {},
            "over": {"learning_rate": rate, "max_iter": iterations, "max_leaf_nodes": leaves},
        },
        FAMILY: {"fixed": {"max_iter": 500}, "over": {"C": strength, "solver": solver}},
    }


@pytest.mark.parametrize(
    "other",
    [
        SearchParams(strategy=RandomStrategy(seed=1)),
        SearchParams(strategy=BayesianStrategy()),
        SearchParams(space=STRENGTH),
        SearchParams(objective=ObjectiveParams(folds=3)),
        SearchParams(objective=ObjectiveParams(seed=1)),
    ],
    ids=["seed", "strategy", "space", "folds", "shuffle"],
)
def test_another_search_has_trials_of_its_own(other: SearchParams) -> None:
    assert other.identity() != SearchParams().identity()


def test_small_space_is_said_to_be_small() -> None:
    """A search for more trials than there are candidates says so, and one of a range of floats never does."""
    small = SearchParams(space={FAMILY: family_space(max_iter=choice(5))}, budget=Budget(trials=3))
    assert small.exhaustion == "The space has 1 candidate, and no more trials are run than that."
    integers = {FAMILY: family_space(max_iter=between(5, 7, "int"))}
    assert SearchParams(space=integers, budget=Budget(trials=4)).exhaustion.startswith("The space has 3 candidates,")
    assert not SearchParams(space=integers, budget=Budget(trials=3)).exhaustion
    assert not SearchParams(space=STRENGTH, budget=Budget(trials=9)).exhaustion


def test_a_search_has_an_end_whatever_was_said_of_it() -> None:
    assert SearchParams(strategy=BayesianStrategy(), budget=Budget(patience=3)).bounded == Budget(trials=30, patience=3)
    for budget in (Budget(trials=5), Budget(seconds=1.0)):
        assert SearchParams(budget=budget).bounded == budget
    grid = SearchParams(strategy=GridStrategy(), space={"logistic_regression": family_space(C=choice(1.0))})
    assert grid.bounded == Budget(), "a grid ends by itself"
