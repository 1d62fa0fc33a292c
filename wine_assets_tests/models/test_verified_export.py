import copy
import json

import pytest
from sklearn.tree import DecisionTreeClassifier

from wine_assets.errors import ExportError
from wine_assets.models import verified_export
from wine_assets.models.hyperparameters import REFERENCE, LogisticRegressionHyperparameters
from wine_assets_tests.support.wine_frames import DEFAULT, exported, fitted, wine


@pytest.mark.parametrize("hyperparameters", [REFERENCE, DEFAULT], ids=["bare", "scaled"])
def test_an_export_comes_with_its_proof_and_what_the_file_says_of_itself(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    """The hyperparameters are those of the estimator: nobody has to remember them."""
    made = verified_export.export(wine(), fitted(hyperparameters))
    assert made.content == exported(hyperparameters)
    assert made.parity.passed
    assert made.parity.batch_invariant
    assert json.loads(made.metadata["hyperparameters"]) == hyperparameters.model_dump()


def test_an_export_that_is_not_equal_is_handed_over_with_the_proof_of_that() -> None:
    """Whether it is accepted is for a check of its own to say."""
    contrary = copy.deepcopy(fitted(REFERENCE))
    contrary.predict_proba = lambda X: 1 - fitted(REFERENCE).predict_proba(X)
    made = verified_export.export(wine(), contrary)
    assert made.content == exported(REFERENCE)
    assert not made.parity.passed


def test_what_no_family_made_is_not_exported() -> None:
    tree = DecisionTreeClassifier().fit(wine().iloc[:, :-1], wine()["target"])
    with pytest.raises(ExportError, match="No family fits estimators such as DecisionTreeClassifier"):
        verified_export.export(wine(), tree)
