import itertools
import math
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils._param_validation import InvalidParameterError

from wine_assets.errors import HyperparameterError
from wine_assets.ml.hyperparameters import REFERENCE, LogisticRegressionHyperparameters, Solver

FIELDS = LogisticRegressionHyperparameters.model_fields


def refused(**fields: Any) -> str:
    with pytest.raises(HyperparameterError) as refusal:
        LogisticRegressionHyperparameters(**fields)
    return str(refusal.value)


def test_the_default_is_the_better_model_and_the_reference_is_the_reference() -> None:
    default = LogisticRegressionHyperparameters()
    assert (default.C, default.scaler, default.max_iter) == (1.0, "standard", 5000)
    assert (REFERENCE.C, REFERENCE.scaler, REFERENCE.max_iter) == (0.01, "none", 5000)


@pytest.mark.parametrize("name", FIELDS)
def test_the_schema_describes_every_field(name: str) -> None:
    """It makes the launch form: type, range or choice, default and meaning."""
    field = LogisticRegressionHyperparameters.model_json_schema()["properties"][name]
    assert field["description"]
    assert "default" in field
    numbers = {"minimum", "exclusiveMinimum"} & field.keys() and {"maximum"} & field.keys()
    assert field["type"] == "boolean" or "enum" in field or "const" in field or numbers


def test_the_schema_knows_no_other_fields() -> None:
    schema = LogisticRegressionHyperparameters.model_json_schema()
    assert schema["additionalProperties"] is False
    assert "penalty" not in schema["properties"]


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("C", [1e-300, 0.01, 1, 1e9], [0, -0.0, -1e-300, -1, math.nextafter(1e9, math.inf), 1e300]),
        ("l1_ratio", [0, 1.0], [-1e-9, math.nextafter(1, 2), -1, 2]),
        ("max_iter", [1, 1_000_000], [0, -1, 1_000_001, 10**40]),
        ("tol", [1e-300, 1], [0, -1e-4, math.nextafter(1, 2)]),
        ("random_state", [0, 2**32 - 1], [-1, 2**32]),
    ],
)
def test_ranges_hold_at_both_ends(name: str, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        taken = LogisticRegressionHyperparameters.model_validate({"solver": "saga", name: value})
        assert getattr(taken, name) == value
    for value in outside:
        sentence = refused(**{"solver": "saga", name: value})
        assert sentence.startswith(f"{name} must be ")
        assert f"got {value!r}" in sentence
        assert sentence.endswith(f"Change `hyperparameters.{name}` in the run config.")


@pytest.mark.parametrize("name", ["C", "l1_ratio", "tol", "max_iter", "random_state"])
@pytest.mark.parametrize(
    "value",
    [
        *(True, "1", b"1", None, math.nan, math.inf, -math.inf, 1j, [1], {}),
        *(np.array(1.0), np.bool_(1), np.float32(1), Fraction(1), Decimal(1)),
    ],
    ids=repr,
)
def test_a_number_has_to_be_a_number(name: str, value: object) -> None:
    assert refused(**{name: value}).startswith(f"{name} must be a ")


@pytest.mark.parametrize("name", ["max_iter", "random_state"])
@pytest.mark.parametrize("value", [1.0, 1.5, np.int64(1), np.float64(1)], ids=repr)
def test_a_count_has_to_be_an_integer_of_python(name: str, value: object) -> None:
    """scikit-learn and JSON would both have something else to say of a scalar of numpy."""
    assert refused(**{name: value}).startswith(f"{name} must be a ")


@pytest.mark.parametrize("value", [0, 1, "true", None, np.bool_(1), 1.0], ids=repr)
def test_a_switch_is_on_or_off(value: object) -> None:
    assert refused(fit_intercept=value).startswith("fit_intercept must be a valid boolean")


@pytest.mark.parametrize(("name", "choices"), [("solver", 6), ("class_weight", 2), ("scaler", 2)])
@pytest.mark.parametrize("value", ["", "LBFGS", "newton", None, 0, True, ["lbfgs"]], ids=repr)
def test_a_choice_is_one_of_those_there_are(name: str, choices: int, value: object) -> None:
    sentence = refused(**{name: value})
    assert sentence.startswith(f"{name} must be '")
    assert sentence.partition(", got ")[0].count("'") == 2 * choices


@pytest.mark.parametrize(
    "name", ["penalty", "c", "dual", "n_jobs", "verbose", "warm_start", "where", "refusal", "self"]
)
def test_a_name_that_is_not_a_field_is_refused(name: str) -> None:
    """`penalty` leaves scikit-learn; the others are not for a run config to choose."""
    fields: dict[str, Any] = {name: "l2"}
    with pytest.raises(HyperparameterError, match=f"^hyperparameters.{name} is not known.* The fields are: family, C"):
        LogisticRegressionHyperparameters.model_validate(fields)


def scikit_learn_accepts(solver: str, l1_ratio: float) -> bool:
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(20, 2)), np.arange(20) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # whether it is accepted is the question, not how it ends
        try:
            LogisticRegression(solver=solver, l1_ratio=l1_ratio, max_iter=5).fit(X, y)
        except InvalidParameterError:
            raise
        except ValueError:
            return False
    return True


def this_model_accepts(solver: str, l1_ratio: float) -> bool:
    try:
        LogisticRegressionHyperparameters.model_validate({"solver": solver, "l1_ratio": l1_ratio})
    except HyperparameterError:
        return False
    return True


@pytest.mark.parametrize(("solver", "l1_ratio"), [*itertools.product(get_args(Solver), [0, 1e-9, 0.5, 1])])
def test_a_solver_takes_the_penalties_that_it_takes_in_scikit_learn(solver: str, l1_ratio: float) -> None:
    """Asked of scikit-learn by fitting."""
    assert this_model_accepts(solver, l1_ratio) == scikit_learn_accepts(solver, l1_ratio)


def test_every_solver_of_scikit_learn_is_there() -> None:
    constraint = LogisticRegression._parameter_constraints["solver"][0]
    assert set(get_args(Solver)) == constraint.options


def test_a_penalty_that_a_solver_cannot_fit_is_answered_with_the_solvers_that_can() -> None:
    assert refused(solver="lbfgs", l1_ratio=0.5) == (
        "solver 'lbfgs' can't fit an elastic net (0 < l1_ratio < 1), got l1_ratio 0.5. "
        "Change `hyperparameters.solver` to saga, or `hyperparameters.l1_ratio` to 0."
    )
    assert "a lasso (l1_ratio = 1), got l1_ratio 1.0. Change `hyperparameters.solver` to liblinear or saga" in refused(
        solver="sag", l1_ratio=1
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
JUNK = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from([*FIELDS]) | st.text() | st.integers(), JUNK, max_size=4))
def test_whatever_is_given_it_is_taken_or_refused_in_words(fields: dict[str, Any]) -> None:
    try:
        taken = LogisticRegressionHyperparameters.model_validate(fields)
    except HyperparameterError as refusal:
        sentence = str(refusal)
        assert sentence.endswith(".")
        return
    assert all(getattr(taken, name) == value for name, value in fields.items())
