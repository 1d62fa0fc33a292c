import itertools
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wine_assets.errors import ConfigurationError, SearchError
from wine_assets.models.registry import families
from wine_assets.search import space as spaces
from wine_assets.search.space import Candidate, Distribution, FamilySpace, Space
from wine_assets.search.strategies import drawn
from wine_assets_tests.support.search_builders import FAMILY, between, choice, family_space, grid, space

RANGES = [
    between(0.5, 2.0),
    between(1e-4, 1e2, log=True),
    between(1, 7, "int"),
    between(1, 100_000, "int", log=True),
]


# --- what can be drawn from --------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "float", "low": 2.0, "high": 1.0}, "`low` must be below `high`, got 2 and 1"),
        ({"kind": "float", "low": 1.0, "high": 1.0}, "`low` must be below `high`, got 1 and 1"),
        ({"kind": "int"}, "`low` must be below `high`, got 0 and 0"),
        (
            {"kind": "float", "log": True, "low": 0.0, "high": 1.0},
            "`low` of a logarithmic range must be above 0, got 0",
        ),
        (
            {"kind": "int", "log": True, "low": -1.0, "high": 4.0},
            "`low` of a logarithmic range must be above 0, got -1",
        ),
        ({"kind": "int", "low": 0.5, "high": 4.0}, "Both ends of `int` must be whole, got 0.5 and 4"),
        ({"kind": "float", "low": 0.0, "high": 1.0, "values": [1]}, "`values` belong to `categorical`"),
        ({"kind": "categorical"}, "A categorical parameter needs at least one value"),
        ({"kind": "categorical", "values": [1], "high": 3.0}, "`low`, `high` and `log` belong to a range"),
        ({"kind": "categorical", "values": [1, [2]]}, r"A value must be a number, a text or a switch, got \[2\]"),
        ({"kind": "categorical", "values": ["a", "b", "a"]}, "Each value counts once"),
        ({"kind": "categorical", "values": [1, 1.0]}, "Each value counts once"),
        ({"kind": "float", "low": math.nan, "high": 1.0}, "low must be a finite number"),
        ({"kind": "float", "low": 0.0, "high": math.inf}, "high must be a finite number"),
        ({"kind": "normal", "low": 0.0, "high": 1.0}, "kind must be 'categorical'"),
        ({"low": 0.0, "high": 1.0}, "space.kind is missing"),
        ({"kind": "float", "hihg": 1.0}, "Did you mean `high`"),
    ],
)
def test_what_can_not_be_drawn_from_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        Distribution(**fields)


@pytest.mark.parametrize(
    ("former", "kind", "log"),
    [
        ("uniform", "float", False),
        ("log_uniform", "float", True),
        ("integer", "int", False),
        ("log_integer", "int", True),
    ],
)
def test_former_kinds_are_accepted(former: str, kind: Any, log: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A former kind of a range means what it meant, with a warning."""
    with pytest.warns(DeprecationWarning, match=f"kind `{former}` is deprecated. Write `{kind}`"):
        distribution = Distribution.model_validate({"kind": former, "low": 1.0, "high": 9.0})
    assert distribution == between(1, 9, kind, log=log)


def test_former_field_over_is_accepted() -> None:
    """A space in the former words, `over` and `choice`, is the same space, with a warning for each."""
    with pytest.warns(DeprecationWarning, match="is deprecated") as warned:
        former = FamilySpace.model_validate({"over": {"C": {"kind": "choice", "values": [1, 2]}}})
    assert former == family_space(C=choice(1, 2))
    said = {str(warning.message) for warning in warned}
    assert said == {
        "`over` of a space is deprecated. Write `parameters`.",
        "The kind `choice` is deprecated. Write `categorical`.",
    }
    with pytest.raises(SearchError, match="Leave `over` out"):
        FamilySpace.model_validate({"over": {"C": choice(1)}, "parameters": {"C": choice(1)}})


@pytest.mark.parametrize("distribution", RANGES, ids=lambda range_: range_.kind)
@given(share=st.floats(0, 1))
def test_no_draw_is_beyond_its_range(distribution: Distribution, share: float) -> None:
    value = distribution.at(share)
    assert distribution.low <= value <= distribution.high
    assert isinstance(value, int) == (distribution.kind == "int")


@pytest.mark.parametrize("distribution", RANGES, ids=lambda range_: range_.kind)
def test_a_larger_share_is_no_smaller_a_value(distribution: Distribution) -> None:
    values = [distribution.at(step / 1000) for step in range(1001)]
    assert values == sorted(values)
    assert [values[0], values[-1]] == pytest.approx(distribution.ends(), rel=1e-12)


@pytest.mark.parametrize("distribution", RANGES, ids=lambda range_: range_.kind)
def test_the_ends_of_a_range_are_exact(distribution: Distribution) -> None:
    assert distribution.ends() == [distribution.low, distribution.high]


def test_each_order_of_magnitude_is_drawn_from_equally_often_on_a_logarithmic_range() -> None:
    distribution = between(1e-4, 1e2, log=True)
    values = [distribution.at((step + 0.5) / 6000) for step in range(6000)]
    assert {*Counter(math.floor(math.log10(value)) for value in values).values()} == {1000}


def test_each_whole_number_of_a_range_is_drawn_equally_often() -> None:
    distribution = between(1, 7, "int")
    values = [distribution.at((step + 0.5) / 7000) for step in range(7000)]
    assert Counter(values) == pytest.approx(dict.fromkeys(range(1, 8), 1000), abs=1)


def test_each_value_of_a_choice_is_drawn_equally_often() -> None:
    values = Counter(choice("a", "b", "c").at((step + 0.5) / 3000) for step in range(3000))
    assert values == {"a": 1000, "b": 1000, "c": 1000}
    assert choice("a", "b", "c").at(1.0) == "c"


# --- what a family takes -----------------------------------------------------


@pytest.mark.parametrize(
    ("family", "complaint"),
    [
        (family_space(c=between(1, 2)), "logistic_regression has no hyperparameter 'c'. It has C, l1_ratio"),
        (family_space({"penalty": "l2"}), "logistic_regression has no hyperparameter 'penalty'"),
        (family_space(family=choice("x")), "logistic_regression has no hyperparameter 'family'"),
        (family_space({"C": 1.0}, C=between(1, 2)), "'C' is both searched and fixed for logistic_regression"),
        (family_space(C=between(-1, 2)), r"has a candidate \(C=-1.0\) that it refuses: C must be greater than 0"),
        (family_space(C=between(0, 2)), r"\(C=0.0\) that it refuses"),
        (family_space(C=choice(1, "2")), "a candidate .C=2. that it refuses"),
        (family_space(C=choice(1, math.nan)), "C must be a finite number"),
        (family_space(max_iter=between(1.5, 9.5)), "max_iter must be a whole number"),
        (family_space(fit_intercept=choice(True, 2)), "fit_intercept must be a valid boolean"),
        (family_space(solver=choice("lbfgs", "adam")), "solver must be 'lbfgs'"),
        (family_space({"solver": "adam"}, C=between(1, 2)), "solver must be 'lbfgs'"),
        (family_space({"C": -1.0}), "C must be greater than 0"),
        (family_space(solver=choice("saga", "lbfgs"), l1_ratio=choice(0, 1)), "can't fit a lasso"),
    ],
)
def test_a_space_is_refused_before_anything_is_fitted(family: FamilySpace, complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        Space.checked({FAMILY: family})


def test_a_range_is_refused_whose_ends_a_family_takes_and_whose_middle_it_doesn_t() -> None:
    """Liblinear fits a ridge and a lasso, and nothing between them."""
    with pytest.raises(SearchError, match=r"l1_ratio=0.5.*an elastic net"):
        space({"solver": "liblinear"}, l1_ratio=between(0, 1))
    space({"solver": "saga"}, l1_ratio=between(0, 1))


def test_a_refused_pair_is_found_among_more_combinations_than_are_asked_about() -> None:
    many = {
        "C": choice(*range(1, 40)),
        "max_iter": choice(*range(1, 40)),
        "random_state": choice(*range(40)),
        "solver": choice("saga", "lbfgs"),
        "l1_ratio": choice(0, 1),
    }
    assert math.prod(len(distribution.values) for distribution in many.values()) > spaces.PROBES
    for order in itertools.islice(itertools.permutations(many), 0, 120, 17):
        with pytest.raises(SearchError, match="can't fit a lasso"):
            space(**{name: many[name] for name in order})


def test_a_space_of_more_combinations_than_are_asked_about_may_be_fine() -> None:
    fine = {"C": choice(*range(1, 100)), "random_state": choice(*range(100))}
    assert space(**fine).grid_size() == 9900


@pytest.mark.parametrize("fields", [{"kind": "float", "log": True, "low": 0.0, "high": 1.0}, {"kind": "normal"}, {}, 3])
def test_what_a_distribution_refuses_is_said_of_its_hyperparameter(fields: Any) -> None:
    with pytest.raises(SearchError, match=r"^tol: "):
        FamilySpace.model_validate({"parameters": {"C": {"kind": "categorical", "values": [1]}, "tol": fields}})


def test_what_a_family_refuses_is_to_be_changed_in_the_space() -> None:
    with pytest.raises(SearchError, match=r"C must be greater than 0, got -1 .* Change `space.logistic_regression.C`"):
        space(C=choice(-1, 1))


def test_an_unknown_family_is_told_the_known_ones() -> None:
    known = ", ".join(families())
    with pytest.raises(SearchError, match=f"no family 'forest'. The families are: {known}"):
        Space.checked({"forest": family_space()})


def test_an_unknown_field_of_a_family_s_space_is_refused() -> None:
    with pytest.raises(SearchError, match=r"Did you mean `over`"):
        FamilySpace.model_validate({"ovre": {}})


def test_the_default_searches_the_strength_of_the_regularization() -> None:
    assert Space.checked({}).families == {FAMILY: family_space(C=between(1e-4, 1e2, log=True))}


# --- candidates --------------------------------------------------------------


def test_a_candidate_has_what_is_fixed_beside_what_was_drawn() -> None:
    found = space({"scaler": "none"}, C=between(1, 3)).at(iter([0.0, 0.5]))
    assert found == Candidate(FAMILY, {"scaler": "none", "C": 2.0})
    assert found.hyperparameters().model_dump(include={"scaler", "C"}) == {"scaler": "none", "C": 2.0}


def test_a_draw_does_not_depend_on_the_order_in_which_fields_are_written() -> None:
    over = {"C": between(1, 2), "tol": between(0.1, 0.2), "max_iter": between(1, 9, "int")}
    one, other = space(**over), space(**dict(reversed(over.items())))
    shares = [0.0, 0.1, 0.5, 0.9]
    assert one.at(iter(shares)).key == other.at(iter(shares)).key


def test_candidates_are_the_same_whose_values_are() -> None:
    assert Candidate(FAMILY, {"a": 1, "b": 2}).key == Candidate(FAMILY, {"b": 2, "a": 1}).key
    assert Candidate(FAMILY, {"a": 1}).key != Candidate(FAMILY, {"a": 2}).key
    assert Candidate(FAMILY, {"a": 1}).key != Candidate("other", {"a": 1}).key


def test_a_candidate_of_no_family_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no family 'forest'"):
        Candidate("forest", {}).hyperparameters()


# --- grids -------------------------------------------------------------------


def test_a_grid_is_every_combination_in_order() -> None:
    found = grid(space({"scaler": "none"}, C=choice(1, 2), tol=choice(0.1, 0.2)))
    assert [(candidate.parameters["C"], candidate.parameters["tol"]) for candidate in found] == [
        (1, 0.1),
        (1, 0.2),
        (2, 0.1),
        (2, 0.2),
    ]
    assert {candidate.parameters["scaler"] for candidate in found} == {"none"}


def test_a_grid_over_nothing_is_the_one_candidate_that_is_fixed() -> None:
    assert grid(space({"C": 3.0})) == [Candidate(FAMILY, {"C": 3.0})]


def test_the_order_in_which_fields_and_families_are_given_changes_no_trial() -> None:
    fields = {"C": choice(1, 2), "solver": choice("lbfgs", "saga")}
    families = {FAMILY: family_space(**fields), "gradient_boosting": family_space(random_state=choice(0, 1))}
    turned = dict(reversed([*(families | {FAMILY: family_space(**dict(reversed(fields.items())))}).items()]))
    given, other = Space.checked(families), Space.checked(turned)
    assert grid(given) == grid(other)
    assert [drawn(given, 0, number) for number in range(9)] == [drawn(other, 0, number) for number in range(9)]


def test_a_grid_of_more_combinations_than_a_search_may_have_trials_is_refused_at_once() -> None:
    many = dict.fromkeys(("C", "tol", "max_iter", "random_state"), choice(*range(1, 101)))
    with pytest.raises(SearchError, match="may have 1,000,000 combinations, got 100,000,000"):
        space(**many | {"tol": choice(*(share / 100 for share in range(1, 101)))}).grid_size()


def test_a_combination_beyond_the_last_is_none() -> None:
    with pytest.raises(IndexError):
        space(C=choice(1, 2)).combination(2)


def test_a_grid_needs_lists() -> None:
    with pytest.raises(SearchError, match="A grid needs a list of values for `C`, got a range of `float`"):
        space(C=between(1, 2)).grid_size()


# --- more families than one --------------------------------------------------


def both() -> Space:
    if "gradient_boosting" not in families():
        pytest.skip("there is only one family")
    fields = families()["gradient_boosting"].hyperparameters.model_fields
    seeded = family_space(random_state=choice(0, 1, 2)) if "random_state" in fields else family_space()
    return Space.checked({FAMILY: family_space(C=choice(1, 2)), "gradient_boosting": seeded})


def test_a_candidate_of_one_family_has_no_field_of_another() -> None:
    found = both()
    first, second = found.at(iter([0.1, 0.9])), found.at(iter([0.9, 0.0]))
    assert (first.family, dict(first.parameters)) == (FAMILY, {"C": 2})
    assert second.family == "gradient_boosting"
    assert "C" not in second.parameters


def test_a_grid_goes_through_one_family_after_the_other() -> None:
    families = [candidate.family for candidate in grid(both())]
    assert families[:2] == [FAMILY, FAMILY]
    assert {*families[2:]} == {"gradient_boosting"}
