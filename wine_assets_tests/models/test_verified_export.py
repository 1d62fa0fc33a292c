import copy
import json
from dataclasses import replace

import pytest
from sklearn.tree import DecisionTreeClassifier

from wine_assets.errors import ExportError
from wine_assets.models import verified_export
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.wine_frames import DEFAULT, exported, fitted, fitted_model, wine


@pytest.mark.parametrize("hyperparameters", [REFERENCE, DEFAULT], ids=["bare", "scaled"])
def test_an_export_comes_with_its_proof_and_what_the_file_says_of_itself(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    """The hyperparameters are those that the model was fitted with, and nobody has to remember them."""
    made = verified_export.export(wine(), fitted_model(hyperparameters))
    assert made.content == exported(hyperparameters)
    assert made.parity.passed
    assert made.parity.batch_invariant
    assert json.loads(made.metadata["hyperparameters"]) == hyperparameters.model_dump()


def test_an_export_that_is_not_equal_is_handed_over_with_the_proof_of_that() -> None:
    """Whether it is accepted is for a check of its own to say."""
    contrary = copy.deepcopy(fitted(REFERENCE))
    contrary.predict_proba = lambda X: 1 - fitted(REFERENCE).predict_proba(X)
    made = verified_export.export(wine(), replace(fitted_model(REFERENCE), estimator=contrary))
    assert made.content == exported(REFERENCE)
    assert not made.parity.passed


def test_a_foreign_estimator_is_not_exported() -> None:
    """A family exports what it fits itself, whatever the model says."""
    tree = DecisionTreeClassifier().fit(wine().iloc[:, :-1], wine()["target"])
    with pytest.raises(ExportError, match=r"Expected a LogisticRegression, .*, got DecisionTreeClassifier"):
        verified_export.export(wine(), replace(fitted_model(REFERENCE), estimator=tree))


def test_a_seed_that_no_solver_uses() -> None:
    """The file names the hyperparameters that were asked for, down to a seed that the solver does not use."""
    seeded = LogisticRegressionHyperparameters(random_state=7)
    exported_model = verified_export.export(wine(), fitted_model(seeded))
    assert json.loads(exported_model.metadata["hyperparameters"]) == seeded.model_dump()
