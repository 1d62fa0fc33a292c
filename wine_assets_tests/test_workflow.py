import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import is_classifier
from sklearn.datasets import load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline

from wine_assets.errors import HyperparameterError
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.search.params import SearchParams
from wine_assets.workflow import search_workflow, training_workflow
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS

# The figures of the reference run; their last digits depend on the processor.
PROBABILITIES = [
    *(0.986040665148276, 0.9479115424473888, 0.9982518047265175, 0.9604389960558742, 0.8774048226183988),
    *(0.9413148437099405, 0.02344560759475572, 0.996932671125954, 0.9964063321010594, 0.9963481707870295),
]
COEFFICIENTS = [
    *(-0.056420753011298674, -0.020887591558465535, -0.020416510425364392, 0.1650552746670157, 0.009501277442431748),
    *(-0.047343680554953284, -0.09711937361080611, 0.003969369768734065, -0.01815675862039848, 0.02607570158520614),
    *(-0.007251474142422134, -0.07185179135615993, -0.015753598147100475),
]
RELATIVE = 2e-2


@pytest.fixture(scope="module")
def rows() -> Any:
    frame = load_wine(as_frame=True).frame
    frame["target"] = frame["target"].where(frame["target"] == 0, 1)
    return frame


@pytest.fixture(scope="module")
def direct(rows: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=5000, C=0.01).fit(rows.drop(columns="target"), rows["target"])


@pytest.fixture(scope="module")
def reference() -> Any:
    return training_workflow({"C": 0.01})


def assert_bit_equal(one: Any, other: Any, X: Any) -> None:
    assert one.coef_.tobytes() == other.coef_.tobytes()
    assert one.intercept_.tobytes() == other.intercept_.tobytes()
    assert one.n_iter_.tolist() == other.n_iter_.tolist()
    assert one.predict_proba(X).tobytes() == other.predict_proba(X).tobytes()


def test_the_reference_workflow_is_bit_equal_to_scikit_learn_called_directly(
    reference: Any, direct: LogisticRegression, rows: Any
) -> None:
    assert type(reference) is LogisticRegression
    assert_bit_equal(reference, direct, rows.drop(columns="target"))
    assert reference.get_params() == direct.get_params()
    assert reference.feature_names_in_.tolist() == direct.feature_names_in_.tolist()
    assert reference.classes_.tolist() == direct.classes_.tolist() == [0, 1]


def test_the_ten_reference_rows_get_the_ten_reference_labels(reference: Any, rows: Any) -> None:
    sample = rows.sample(10, random_state=41)
    assert sample.index.tolist() == SAMPLED_ROWS
    assert reference.predict(sample.drop(columns="target")).tolist() == SAMPLED_LABELS


def test_the_reference_figures_are_met(reference: Any, rows: Any) -> None:
    X, y = rows.drop(columns="target"), rows["target"]
    probability = reference.predict_proba(X)[:, 1]
    assert probability[SAMPLED_ROWS] == pytest.approx(PROBABILITIES, rel=RELATIVE)
    assert reference.coef_[0] == pytest.approx(COEFFICIENTS, rel=RELATIVE)
    assert reference.intercept_[0] == pytest.approx(10.36589525775813, rel=RELATIVE)
    assert reference.score(X, y) == pytest.approx(0.9382022471910112, rel=RELATIVE)
    assert log_loss(y, probability) == pytest.approx(0.1200014, rel=RELATIVE)
    assert roc_auc_score(y, probability) == pytest.approx(0.9903148, rel=RELATIVE)


@pytest.mark.parametrize(
    "given_as",
    [REFERENCE, LogisticRegressionHyperparameters(C=0.01), MappingProxyType({"C": 0.01}), {"C": np.float64(0.01)}],
    ids=["the reference", "a typed model", "a mapping", "a number of numpy"],
)
def test_a_typed_model_means_what_a_mapping_means(given_as: Any, reference: Any, rows: Any) -> None:
    assert_bit_equal(training_workflow(given_as), reference, rows.drop(columns="target"))


@pytest.mark.parametrize("nothing", [None, LogisticRegressionHyperparameters()])
def test_without_hyperparameters_there_is_no_scaler_and_the_rest_has_its_defaults(nothing: Any) -> None:
    estimator = training_workflow(nothing)
    assert type(estimator) is LogisticRegression
    assert (estimator.C, estimator.max_iter) == (1.0, 5000)


def test_a_scaler_that_is_asked_for_comes_before_the_model() -> None:
    estimator = training_workflow({"scaler": "standard"})
    assert isinstance(estimator, Pipeline)
    assert [*estimator.named_steps] == ["standardscaler", "logisticregression"]


@pytest.mark.parametrize(
    "given_as",
    [
        {"family": "gradient_boosting", "max_iter": 5},
        MappingProxyType({"max_iter": 5, "family": "gradient_boosting"}),
        GradientBoostingHyperparameters(max_iter=5),
    ],
    ids=["a mapping", "a read-only mapping", "a typed model"],
)
def test_another_family_is_fitted_where_it_is_named(given_as: Any, rows: Any) -> None:
    estimator = training_workflow(given_as)
    X, y = rows.drop(columns="target"), rows["target"]
    plain = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, y)
    assert type(estimator) is HistGradientBoostingClassifier
    assert estimator.predict_proba(X).tobytes() == plain.predict_proba(X).tobytes()


@pytest.mark.parametrize(
    "refused",
    [
        {"learning_rate": 0.1},
        {"family": "forest"},
        {"family": []},
        {"family": "gradient_boosting", "C": 1.0},
        {"family": "gradient_boosting", "scaler": "none"},
        GradientBoostingHyperparameters().model_copy(update={"max_iter": 0}),
        {"C": -1.0},
        {"C": "0.01"},
        {"c": 0.01},
        {"penalty": "l2"},
        {"l1_ratio": 0.5},
        {1: 2},
        {None: None},
        "C=0.01",
        [("C", 0.01)],
        3,
        LogisticRegressionHyperparameters().model_copy(update={"C": -1.0}),
        LogisticRegressionHyperparameters.model_construct(C="0.01"),  # type: ignore[arg-type] # on purpose
    ],
    ids=repr,
)
def test_what_the_model_refuses_is_refused_before_anything_is_read(
    refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wine_assets.data.sources.load", lambda _: pytest.fail("the data were read"))
    with pytest.raises(HyperparameterError):
        training_workflow(refused)


FIELDS = [*LogisticRegressionHyperparameters.model_fields]


@settings(deadline=None, max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS) | st.text(max_size=5),
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(-1, 20) | st.lists(st.integers()),
        max_size=2,
    )
)
def test_whatever_mapping_is_given_it_is_fitted_or_refused(junk: dict[str, Any]) -> None:
    try:
        estimator = training_workflow(junk)
    except HyperparameterError:
        return
    assert is_classifier(estimator)
    assert estimator.classes_.tolist() == [0, 1]


@pytest.mark.process
def test_the_workflow_does_not_import_dagster() -> None:
    program = (
        "import sys; from wine_assets.workflow import training_workflow; training_workflow({'C': 0.01}); "
        "sys.exit('dagster' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.process
def test_a_search_in_one_call_fits_the_best_on_all_rows(rows: Any, tmp_path: Path) -> None:
    search = SearchParams.model_validate({"budget": {"trials": 3}, "objective": {"folds": 2}})
    tuned = search_workflow(search, tmp_path)
    best = tuned.result.best.candidate.hyperparameters()
    alone = training_workflow(best.model_dump())
    features = rows.drop(columns="target")
    np.testing.assert_array_equal(tuned.estimator.predict_proba(features), alone.predict_proba(features))
    before = [outcome.seconds for outcome in tuned.result.trials]
    again = search_workflow({"budget": {"trials": 3}, "objective": {"folds": 2}}, tmp_path)
    assert [outcome.seconds for outcome in again.result.trials] == before, "it goes on from its journal"
