import tempfile
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler

from wine_assets.data import dataset
from wine_assets.errors import ArtifactError, ExportError, HyperparameterError
from wine_assets.models import training
from wine_assets.models.families import legacy_skops
from wine_assets.models.families.logistic_regression import (
    SHUFFLING_SOLVERS,
    LogisticRegressionFamily,
    LogisticRegressionHyperparameters,
    Solver,
    folded,
)
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.wine_frames import DEFAULT, exported, fitted, wine, wine_data

FAMILY = LogisticRegressionFamily()


@st.composite
def cheap_hyperparameters(draw: st.DrawFn) -> LogisticRegressionHyperparameters:
    solver: Solver = draw(st.sampled_from(get_args(Solver)))
    ratios = {"saga": st.floats(0, 1), "liblinear": st.sampled_from([0.0, 1.0])}
    return LogisticRegressionHyperparameters(
        solver=solver,
        l1_ratio=draw(ratios.get(solver, st.just(0.0))),
        C=draw(st.floats(1e-6, 1e6)),
        max_iter=draw(st.integers(1, 10)),
        tol=draw(st.floats(1e-8, 1)),
        fit_intercept=draw(st.booleans()),
        class_weight=draw(st.sampled_from(["none", "balanced"])),
        scaler=draw(st.sampled_from(["standard", "none"])),
        random_state=draw(st.integers(0, 2**32 - 1)),
    )


@settings(deadline=None, max_examples=20)
@given(cheap_hyperparameters())
def test_old_files_tell_their_hyperparameters(hyperparameters: LogisticRegressionHyperparameters) -> None:
    """In a file without a description, a seed that the solver doesn't use isn't kept, and reads as 0."""
    kept = {} if hyperparameters.solver in SHUFFLING_SOLVERS else {"random_state": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.skops"
        FAMILY.save(training.train(wine(), hyperparameters).estimator, path)
        assert legacy_skops.load(path).hyperparameters == hyperparameters.model_copy(update=kept)


@settings(deadline=None, max_examples=20)
@given(cheap_hyperparameters())
def test_equal_hyperparameters_fit_equal_estimators(hyperparameters: LogisticRegressionHyperparameters) -> None:
    one, other = (folded(training.train(wine(), hyperparameters).estimator) for _ in range(2))
    assert one[0].tobytes() == other[0].tobytes()
    assert one[1] == other[1]


def shuffled(seed: int) -> Any:
    hyperparameters = LogisticRegressionHyperparameters(solver="saga", max_iter=2, random_state=seed)
    return folded(training.train(wine(), hyperparameters).estimator)[0]


def test_the_seed_matters_to_a_solver_that_shuffles() -> None:
    assert (shuffled(1) != shuffled(2)).any()
    assert (shuffled(1) == shuffled(1)).all()


def test_balanced_weights_reach_the_classifier() -> None:
    balanced = fitted(LogisticRegressionHyperparameters(class_weight="balanced", scaler="none"))
    assert balanced.class_weight == "balanced"


@pytest.mark.parametrize("hyperparameters", [REFERENCE, DEFAULT], ids=["bare", "scaled"])
def test_a_folded_model_has_the_decision_function_of_the_estimator(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    X, _ = dataset.features_and_target(wine())
    weights, bias = folded(fitted(hyperparameters))
    np.testing.assert_allclose(
        X.to_numpy() @ weights + bias, fitted(hyperparameters).decision_function(X), rtol=1e-9, atol=1e-9
    )


def test_an_estimator_survives_the_disk(tmp_path: Path) -> None:
    FAMILY.save(fitted(DEFAULT), tmp_path / "model.skops")
    estimator = FAMILY.load(tmp_path / "model.skops")
    assert FAMILY.export(estimator, DEFAULT, wine_data()) == exported(DEFAULT)


def fit_on_wine(estimator: Any, target: Any = None) -> Any:
    X, y = dataset.features_and_target(wine())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # how good the fit is doesn't matter here
        return estimator.fit(X, y if target is None else target)


FOREIGN = {
    "another classifier": RidgeClassifier(),
    "another scaler": make_pipeline(MinMaxScaler(), LogisticRegression()),
    "a scaler that does not center": make_pipeline(StandardScaler(with_mean=False), LogisticRegression()),
    "a scaler that does not scale": make_pipeline(StandardScaler(with_std=False), LogisticRegression()),
    "a step more": make_pipeline(PolynomialFeatures(1), StandardScaler(), LogisticRegression()),
    "a search of its own": LogisticRegressionCV(
        Cs=[1.0], l1_ratios=(0,), cv=2, scoring=None, max_iter=10, use_legacy_attributes=False
    ),
}


@pytest.mark.parametrize("estimator", FOREIGN.values(), ids=FOREIGN)
def test_what_does_not_fold_is_not_this_familys(estimator: Any) -> None:
    foreign = fit_on_wine(estimator)
    with pytest.raises(ExportError, match=r"^Expected a LogisticRegression, alone or after a StandardScaler, got "):
        FAMILY.export(foreign, DEFAULT, wine_data())


def test_a_file_of_another_estimator_is_refused(tmp_path: Path) -> None:
    """A family reads what it fits itself, with or without a description beside it."""
    FAMILY.save(fit_on_wine(RidgeClassifier()), tmp_path / "model.skops")
    for load in (FAMILY.load, legacy_skops.load):
        with pytest.raises(ArtifactError, match=r"model\.skops holds another estimator\. .*, got RidgeClassifier"):
            load(tmp_path / "model.skops")


@pytest.mark.parametrize("estimator", [None, 3, Pipeline([])], ids=["None", "a number", "an empty pipeline"])
def test_what_is_no_estimator_is_not_this_familys(estimator: Any) -> None:
    with pytest.raises(ExportError, match=r"^Expected a LogisticRegression, alone or after a StandardScaler, got "):
        FAMILY.export(estimator, DEFAULT, wine_data())


def test_a_model_that_is_not_fitted_is_not_exported() -> None:
    with pytest.raises(ExportError, match="fitted on the classes 0 and 1"):
        FAMILY.export(LogisticRegression(), REFERENCE, wine_data())


@pytest.mark.parametrize("classes", [[1, 2], [0, 1, 2], ["red", "white"]], ids=str)
def test_only_a_model_of_the_classes_0_and_1_is_exported(classes: list[Any]) -> None:
    foreign = fit_on_wine(LogisticRegression(max_iter=5), np.resize(classes, len(wine())))
    with pytest.raises(ExportError, match="fitted on the classes 0 and 1"):
        FAMILY.export(foreign, REFERENCE, wine_data())


def test_a_classifier_with_parameters_that_no_run_config_can_hold_says_which(tmp_path: Path) -> None:
    FAMILY.save(fit_on_wine(LogisticRegression(class_weight={0: 1, 1: 2}, max_iter=5)), tmp_path / "model.skops")
    with pytest.raises(HyperparameterError, match=r"^class_weight must be 'none' or 'balanced'"):
        legacy_skops.load(tmp_path / "model.skops")
