from typing import ClassVar, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from wine_assets.config import StrictModel
from wine_assets.errors import ConfigurationError, HyperparameterError, WineAssetsError


class Press(StrictModel):
    config_path: ClassVar[str] = "press"

    bars: float = Field(default=1.5, gt=0, description="pressure in bar")
    kind: Literal["basket", "bladder"] = "basket"
    Turns: int = 3
    names: list[str] = Field(default=[])

    @field_validator("names")
    @classmethod
    def _few(cls, names: list[str]) -> list[str]:
        if len(names) > 1:
            raise ValueError("must hold one name at most")
        return names

    @model_validator(mode="after")
    def _gentle(self) -> "Press":
        if self.kind == "basket" and self.Turns > 5:
            raise ConfigurationError("a basket press turns 5 times at most.")
        return self


class Tank(StrictModel):
    error_class: ClassVar[type[ConfigurationError]] = HyperparameterError

    litres: int


def refused(fields: object) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        Press.model_validate(fields)
    return str(refusal.value)


def test_a_configuration_cannot_be_changed_once_it_is_made() -> None:
    """Even this refusal is an error of the project's own."""
    press = Press()
    with pytest.raises((ConfigurationError, ValueError), match="frozen"):
        press.bars = 2.0  # type: ignore[misc] # what the type checker refuses is refused at run time too


def test_a_refused_value_is_named_with_what_was_wanted_what_it_means_and_where_to_change_it() -> None:
    assert refused({"bars": -1.0}) == (
        "bars must be greater than 0, got -1.0 (pressure in bar). Change `press.bars` in the run config."
    )


def test_a_field_without_a_description_is_refused_without_one() -> None:
    assert refused({"kind": "vertical"}) == (
        "kind must be 'basket' or 'bladder', got 'vertical'. Change `press.kind` in the run config."
    )


@pytest.mark.parametrize(("given", "meant"), [("bar", "bars"), ("BARS", "bars"), ("turns", "Turns"), ("kin", "kind")])
def test_a_name_that_is_nearly_right_is_put_right(given: str, meant: str) -> None:
    assert refused({given: 1}) == (
        f"press.{given} is not known. Did you mean `{meant}`? The fields are: bars, kind, Turns, names."
    )


@pytest.mark.parametrize("given", ["zzzz", "", 1, None, (1, 2)])
def test_a_name_that_nobody_can_guess_is_answered_with_the_names_there_are(given: object) -> None:
    assert refused({given: 1}) == f"press.{given} is not known. The fields are: bars, kind, Turns, names."


def test_all_that_is_wrong_is_said_at_once() -> None:
    sentences = refused({"bars": 0.0, "Turns": 1.5, "colour": "red"})
    assert "bars must be greater than 0" in sentences
    assert "Turns must be a whole number, got 1.5" in sentences
    assert "press.colour is not known" in sentences


def test_what_a_validator_of_a_field_says_follows_the_name_of_the_field() -> None:
    assert refused({"names": ["a", "b"]}) == (
        "names must hold one name at most, got ['a', 'b']. Change `press.names` in the run config."
    )


def test_an_item_of_a_list_is_named_by_its_place() -> None:
    assert refused({"names": [3]}) == (
        "names.0 must be a valid string, got 3. Change `press.names.0` in the run config."
    )


def test_a_rule_across_fields_speaks_for_itself() -> None:
    assert refused({"Turns": 6}) == "a basket press turns 5 times at most."


@pytest.mark.parametrize("value", ["2", True, float("nan"), float("inf"), None])
def test_no_value_is_bent_into_a_number(value: object) -> None:
    assert "bars must be a" in refused({"bars": value})


@pytest.mark.parametrize("fields", [None, 3, "bars", [("bars", 2)]])
def test_what_holds_no_fields_is_refused(fields: object) -> None:
    assert refused(fields).startswith("press must be a valid dictionary")


def test_a_missing_field_is_named_by_an_error_of_the_kind_that_the_model_raises() -> None:
    """At the top of a run config, a field has no prefix."""
    with pytest.raises(HyperparameterError, match=r"^litres is missing. Change `litres` in the run config.$"):
        Tank.model_validate({})


def test_a_model_without_a_place_is_called_by_its_name() -> None:
    with pytest.raises(HyperparameterError, match=r"^Tank must be a valid dictionary"):
        Tank.model_validate(3)


def test_the_sentence_is_the_whole_error() -> None:
    """No chain of pydantic's own errors follows it."""
    with pytest.raises(WineAssetsError) as refusal:
        Tank(litres=0.5)  # type: ignore[arg-type] # on purpose
    assert refusal.value.__suppress_context__
