from typing import Any

import pytest

from wine_assets.errors import SearchError
from wine_assets.search.space import Distribution
from wine_assets.search.space_text import parse, shown, text_of
from wine_assets_tests.support.search_builders import FAMILY, between, choice, family_space

FAMILIES = (FAMILY, "gradient_boosting")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("C=log:1e-4:1e2", between(1e-4, 1e2, log=True)),
        (" C = uniform:0:1 ", between(0, 1)),
        ("C=int:1:10", between(1, 10, "int")),
        ("C=logint:1:10", between(1, 10, "int", log=True)),
        ("C=0.1,1,10", choice(0.1, 1, 10)),
        ("C=lbfgs, saga", choice("lbfgs", "saga")),
        ("C=true,False", choice(True, False)),
        ("C=5", choice(5)),
        ("C=1e3,2", choice(1000.0, 2)),
    ],
)
def test_a_text_says_what_is_drawn_from(text: str, meant: Distribution) -> None:
    assert parse([text], [FAMILY]) == {FAMILY: family_space(C=meant)}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("C", "--space must say what a hyperparameter is drawn from, as in C=log:1e-4:1e2"),
        ("=1,2", "--space must say"),
        ("C=", "--space must say"),
        ("C=log:1", "--space must be like"),
        ("C=log:1:2:3", "--space must be like"),
        ("C=log:a:b", "--space must be like"),
        ("C=normal:0:1", "--space must be like"),
        ("C=,", "--space 'C=,': A categorical parameter needs at least one value"),
        ("C=log:0:1", "--space 'C=log:0:1': `low` of a logarithmic range must be above 0"),
        ("C=uniform:nan:1", "--space 'C=uniform:nan:1': low must be a finite number"),
        ("forest.C=1", "is about 'forest', which isn't searched. Add --family forest"),
    ],
)
def test_a_text_that_says_something_else_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SearchError, match=complaint):
        parse([text], [FAMILY])


def test_a_family_of_which_nothing_is_said_is_searched_over_nothing() -> None:
    assert parse([], FAMILIES) == {name: family_space() for name in FAMILIES}


def test_a_name_with_a_dot_belongs_to_one_family_alone() -> None:
    found = parse([f"{FAMILY}.C=1,2", "gradient_boosting.learning_rate=log:0.01:1"], FAMILIES)
    assert found == {
        FAMILY: family_space(C=choice(1, 2)),
        "gradient_boosting": family_space(learning_rate=between(0.01, 1, log=True)),
    }


def test_with_two_families_a_name_needs_one_of_them() -> None:
    with pytest.raises(SearchError, match=f"Write {FAMILY}.C="):
        parse(["C=1,2"], FAMILIES)


def test_a_field_is_given_once() -> None:
    with pytest.raises(SearchError, match=f"'C' is given twice for {FAMILY}"):
        parse(["C=1,2", f"{FAMILY}.C=3"], [FAMILY])


@pytest.mark.parametrize(
    "texts",
    [
        ["C=log:0.0001:100", "solver=lbfgs,saga", "fit_intercept=true,false"],
        ["C=uniform:0.123456789:2", "max_iter=logint:1:1234567"],
    ],
)
def test_a_space_is_shown_as_it_was_written(texts: list[str]) -> None:
    assert shown(parse(texts, [FAMILY])) == texts


def test_a_space_of_two_families_names_them() -> None:
    texts = [f"{FAMILY}.C=1,2", "gradient_boosting.max_depth=int:1:9"]
    assert shown(parse(texts, FAMILIES)) == texts


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-300, 12345678.9, 1e16, 7.0])
def test_a_number_keeps_its_value(value: Any) -> None:
    text = text_of(between(value, value * 2))
    assert parse([f"C={text}"], [FAMILY])[FAMILY].parameters["C"] == between(value, value * 2)
