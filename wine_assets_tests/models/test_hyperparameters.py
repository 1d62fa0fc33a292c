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
from wine_assets.models.base import Hyperparameters
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters, Solver
from wine_assets.models.reference import REFERENCE
from wine_assets.models.registry import families, json_schema, validate

MODELS = [family.hyperparameters for family in families().values()]


FIELDS = LogisticRegressionHyperparameters.model_fields


def refused(**fields: Any) -> str:
    with pytest.raises(HyperparameterError) as refusal:
        LogisticRegressionHyperparameters(**fields)
    return str(refusal.value)


def test_the_default_is_the_better_model_and_the_reference_is_the_reference() -> None:
    default = LogisticRegressionHyperparameters()
    assert (default.C, default.scaler, default.max_iter) == (1.0, "standard", 5000)
    assert (REFERENCE.C, REFERENCE.scaler, REFERENCE.max_iter) == (0.01, "none", 5000)


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in model.model_fields])
def test_the_schema_describes_every_field(model: Any, name: str) -> None:
    """It makes the launch form: type, range or choice, default and meaning."""
    field = model.model_json_schema()["properties"][name]
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
    "name", ["penalty", "c", "dual", "n_jobs", "verbose", "warm_start", "config_path", "error_class", "self"]
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


# --- gradient boosting


def refused_trees(**fields: Any) -> str:
    with pytest.raises(HyperparameterError) as refusal:
        GradientBoostingHyperparameters(**fields)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("learning_rate", [1e-300, 0.05, 1], [0, -0.0, -1, math.nextafter(1, 2), 2]),
        ("max_iter", [1, 10_000], [0, -1, 10_001]),
        ("max_leaf_nodes", [2, 10_000], [1, 0, -1, 10_001]),
        ("max_depth", [0, 1, 1000], [-1, 1001]),
        ("min_samples_leaf", [1, 1_000_000], [0, -1, 1_000_001]),
        ("l2_regularization", [0, 0.5, 1e9], [-1e-300, math.nextafter(1e9, math.inf)]),
        ("max_features", [1e-300, 0.5, 1], [0, -0.5, math.nextafter(1, 2), 2]),
        ("random_state", [0, 2**32 - 1], [-1, 2**32]),
    ],
)
def test_the_ranges_of_trees_hold_at_both_ends(name: str, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        assert getattr(GradientBoostingHyperparameters.model_validate({name: value}), name) == value
    for value in outside:
        sentence = refused_trees(**{name: value})
        assert sentence.startswith(f"{name} must be ")
        assert f"got {value!r}" in sentence
        assert sentence.endswith(f"Change `hyperparameters.{name}` in the run config.")


@pytest.mark.parametrize(
    "name", [name for name in GradientBoostingHyperparameters.model_fields if name not in ("family", "class_weight")]
)
@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, np.array(1.0), np.float32(1), Decimal(1)])
def test_a_number_of_trees_has_to_be_a_number(name: str, value: object) -> None:
    assert refused_trees(**{name: value}).startswith(f"{name} must be a ")


@pytest.mark.parametrize("name", ["early_stopping", "max_bins", "categorical_features", "loss", "n_jobs", "Max_iter"])
def test_what_is_not_to_be_chosen_is_refused(name: str) -> None:
    assert refused_trees(**{name: 1}).startswith(f"hyperparameters.{name} is not known.")


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from([*GradientBoostingHyperparameters.model_fields]) | st.text(), JUNK, max_size=4))
def test_whatever_is_given_for_trees_it_is_taken_or_refused_in_words(fields: dict[str, Any]) -> None:
    try:
        taken = GradientBoostingHyperparameters.model_validate(fields)
    except HyperparameterError as refusal:
        sentence = str(refusal)
        assert sentence.endswith(".")
        return
    assert all(getattr(taken, name) == value for name, value in fields.items())


# --- of any family


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, LogisticRegressionHyperparameters()),
        ({"C": 2.0, "max_iter": 7}, LogisticRegressionHyperparameters(C=2.0, max_iter=7)),
        ({"family": "logistic_regression", "C": 2.0}, LogisticRegressionHyperparameters(C=2.0)),
        ({"family": "gradient_boosting"}, GradientBoostingHyperparameters()),
        ({"family": "gradient_boosting", "max_iter": 7}, GradientBoostingHyperparameters(max_iter=7)),
    ],
    ids=str,
)
def test_the_family_that_is_named_takes_the_fields_and_logistic_regression_where_none_is(
    fields: dict[str, Any], expected: Hyperparameters
) -> None:
    """What was written down before there was a choice means what it meant."""
    assert validate(fields) == expected
    assert validate(expected.model_dump()) == expected


@pytest.mark.parametrize("family", ["", "forest", "Logistic_Regression", None, 3, [], {}], ids=repr)
def test_a_family_that_there_is_not_is_refused_with_those_there_are(family: object) -> None:
    with pytest.raises(HyperparameterError) as refusal:
        validate({"family": family, "C": 1})
    assert str(refusal.value) == (
        f"family must be {' or '.join(map(repr, families()))}, got {family!r}. "
        "Change `hyperparameters.family` in the run config."
    )


@pytest.mark.parametrize(
    ("fields", "family", "other", "name"),
    [
        ({"learning_rate": 0.1}, "logistic_regression", "gradient_boosting", "learning_rate"),
        ({"family": "gradient_boosting", "C": 1.0}, "gradient_boosting", "logistic_regression", "C"),
    ],
)
def test_a_field_of_another_family_is_refused_with_both(
    fields: dict[str, Any], family: str, other: str, name: str
) -> None:
    with pytest.raises(HyperparameterError) as refusal:
        validate(fields)
    assert str(refusal.value) == (
        f"`hyperparameters.{name}` is of the family {other}, and the family is {family}, which has no such field. "
        f"Set `hyperparameters.family` to {other}, or leave `hyperparameters.{name}` out."
    )


@pytest.mark.parametrize("fields", [{"C": -1}, {"family": "gradient_boosting", "max_iter": 0}, {"forest": 1}, {1: 2}])
def test_a_family_refuses_what_it_refuses_by_itself(fields: dict[Any, Any]) -> None:
    with pytest.raises(HyperparameterError) as refusal:
        validate(fields)
    model = GradientBoostingHyperparameters if "family" in fields else LogisticRegressionHyperparameters
    with pytest.raises(HyperparameterError) as own:
        model.model_validate(fields)
    assert str(refusal.value) == str(own.value)


@pytest.mark.parametrize("fields", ["C=1", None, 3, [("C", 1)]], ids=repr)
def test_what_is_no_mapping_holds_no_hyperparameters(fields: Any) -> None:
    with pytest.raises(HyperparameterError, match=r"^hyperparameters must be a mapping of fields, got "):
        validate(fields)


def test_one_schema_tells_the_families_apart() -> None:
    schema = json_schema()
    assert schema["discriminator"]["propertyName"] == "family"
    assert {*schema["discriminator"]["mapping"]} == {*families()}
    assert len(schema["oneOf"]) == len(MODELS)
