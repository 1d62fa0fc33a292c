import pytest

from wine_assets.errors import FamilyError
from wine_assets.models.registry import families, family_named, family_of


def test_families_have_names_of_their_own() -> None:
    assert [family.name for family in families().values()] == [*families()]


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.name)
def test_a_family_is_found_by_its_hyperparameters(family: object) -> None:
    assert family_of(family.hyperparameters()) is family  # type: ignore[attr-defined] # a family is a protocol


def test_a_family_that_there_is_not() -> None:
    """It is refused with the families that there are."""
    with pytest.raises(FamilyError, match=r"no family 'svm'\. .* are: logistic_regression, gradient_boosting"):
        family_named("svm")
