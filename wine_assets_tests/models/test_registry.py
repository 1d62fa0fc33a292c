import pytest
from sklearn.ensemble import RandomForestClassifier

from wine_assets.errors import ExportError
from wine_assets.models.registry import FAMILIES, family_of, family_that_made
from wine_assets_tests.support.wine_frames import DEFAULT, fitted


def test_families_have_names_of_their_own() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_found_by_its_hyperparameters(family: object) -> None:
    assert family_of(family.hyperparameters()) is family  # type: ignore[attr-defined] # a family is a protocol


def test_a_family_is_found_by_what_it_made() -> None:
    assert family_that_made(fitted(DEFAULT)) is family_of(DEFAULT)


@pytest.mark.parametrize("estimator", [RandomForestClassifier(), None, {}], ids=lambda value: type(value).__name__)
def test_what_no_family_made_is_refused_with_the_families_there_are(estimator: object) -> None:
    with pytest.raises(
        ExportError,
        match=rf"such as {type(estimator).__name__}; the families are: logistic_regression, gradient_boosting",
    ):
        family_that_made(estimator)
