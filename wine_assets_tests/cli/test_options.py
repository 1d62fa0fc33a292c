import inspect
import re
from typing import Any, ClassVar, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from wine_assets.cli.commands.run import run
from wine_assets.cli.options import HYPERPARAMETERS, FamilyOptions, OptionGroup, with_options
from wine_assets.config import StrictModel
from wine_assets.models.base import RESERVED_FIELDS
from wine_assets.models.registry import families

MODELS = [family.hyperparameters for family in families().values()]


PLAIN = {"COLUMNS": "200", "NO_COLOR": "1"}


class Pressing(StrictModel):
    config_path: ClassVar[str] = "pressing"

    bars: float = Field(default=1.5, gt=0, description="pressure in bar, above 0")
    passes: int = Field(default=2, description="how often the grapes are pressed")
    gently: bool = Field(default=True, description="whether the press waits between passes")
    labels: list[Any] = Field(default=[], description="what is written on the casks")
    years: list[int] = Field(default=[2020], description="the vintages")
    cask: str = Field(description="which cask the must goes to")
    not_for_users: str = Field(default="", description="set by programs")


GROUP = OptionGroup(Pressing, "Pressing", skip=frozenset({"not_for_users"}))


@pytest.fixture
def seen() -> dict[str, Any]:
    """What the command was called with."""
    return {}


@pytest.fixture
def app(seen: dict[str, Any]) -> typer.Typer:
    """A program with options made from the model, and one of its own."""
    app = typer.Typer(add_completion=False)

    @app.command()
    @with_options([GROUP, OptionGroup(Pressing, "Again", prefix="second", skip=frozenset(["cask", "not_for_users"]))])
    def press(*, loud: bool = False, **options: Any) -> None:
        """Press grapes."""
        seen.update(loud=loud, given=GROUP.values(options), options=options)

    return app


def call(app: typer.Typer, *arguments: str) -> str:
    result = CliRunner(env=PLAIN).invoke(app, [*arguments])
    return result.output


def test_an_option_that_is_not_given_leaves_the_models_default_alone(app: typer.Typer, seen: dict[str, Any]) -> None:
    call(app)
    assert seen["given"] == {}


def test_options_arrive_as_the_types_of_their_fields(app: typer.Typer, seen: dict[str, Any]) -> None:
    call(app, "--bars", "2", "--passes", "3", "--cask", "old", "--years", "2001", "--years", "2002", "--labels", "7")
    assert seen["given"] == {"bars": 2.0, "passes": 3, "cask": "old", "years": [2001, 2002], "labels": ["7"]}


@pytest.mark.parametrize(("flag", "value"), [("--gently", True), ("--no-gently", False)])
def test_a_switch_can_be_turned_on_and_off(app: typer.Typer, seen: dict[str, Any], flag: str, value: bool) -> None:  # noqa: FBT001 - a value under test
    call(app, flag)
    assert seen["given"] == {"gently": value}


def test_a_prefix_keeps_fields_of_the_same_name_apart(app: typer.Typer, seen: dict[str, Any]) -> None:
    call(app, "--bars", "2", "--second-bars", "3")
    assert seen["given"] == {"bars": 2.0}
    assert OptionGroup(Pressing, "Again", prefix="second").values(seen["options"]) == {"bars": 3.0}


def test_a_commands_own_options_stay_its_own(app: typer.Typer, seen: dict[str, Any]) -> None:
    call(app, "--loud")
    assert seen["loud"] is True
    assert "loud" not in seen["options"]


def test_a_field_that_is_skipped_has_no_option() -> None:
    assert "not_for_users" not in [parameter.name for parameter in GROUP.parameters()]


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [("--bars", "much", "must be a number, got 'much'"), ("--passes", "2.5", "must be a whole number, got '2.5'")],
)
def test_a_text_that_is_no_number_is_refused_with_what_was_given(
    app: typer.Typer, seen: dict[str, Any], flag: str, value: str, wanted: str
) -> None:
    assert wanted in call(app, flag, value)
    assert not seen


def test_the_help_describes_each_option_with_its_default(app: typer.Typer) -> None:
    text = call(app, "--help")
    for field in ("pressure in bar, above 0 [default: 1.5]", "how often the grapes are pressed [default: 2]"):
        assert field in text
    assert "which cask the must goes to [" not in text
    assert "Press grapes." in text


def test_a_command_keeps_its_name_and_its_documentation() -> None:
    def crush() -> None:
        """Crush grapes."""

    made = with_options([GROUP])(crush)
    assert (made.__name__, made.__doc__) == ("crush", "Crush grapes.")
    assert set(inspect.signature(made).parameters) == {"bars", "passes", "gently", "labels", "years", "cask"}


def test_a_message_about_a_field_names_the_option_instead() -> None:
    message = "Change `pressing.bars` in the run config, or `pressing.not_for_users`."
    group = OptionGroup(Pressing, "Again", prefix="second")
    assert group.in_flags(message) == "Change --second-bars, or --second-not-for-users."


# --- several models, of which one is meant


class Red(StrictModel):
    config_path: ClassVar[str] = "wine"

    family: Literal["red"] = Field(default="red", description="fermented on its skins")
    days: int = Field(default=14, description="days on the skins")
    passes: int = Field(default=2, description="how often the grapes are pressed")
    label: str = Field(default="plain", description="what the label says")


class White(StrictModel):
    config_path: ClassVar[str] = "wine"

    family: Literal["white"] = Field(default="white", description="fermented as must")
    degrees: float = Field(default=15.5, description="temperature in degrees Celsius")
    passes: int = Field(default=1, description="how gently the grapes are pressed")
    label: str = Field(default="plain", description="what the label says")


WINES = FamilyOptions((Red, White), "Wine")


@pytest.fixture
def cellar(seen: dict[str, Any]) -> typer.Typer:
    """A program with options made from both models."""
    app = typer.Typer(add_completion=False)

    @app.command()
    @with_options([WINES])
    def make(**options: Any) -> None:
        seen.update(WINES.values(options))

    return app


def test_options_of_every_family_are_there_and_the_family_says_which_is_meant(
    cellar: typer.Typer, seen: dict[str, Any]
) -> None:
    call(cellar, "--family", "white", "--degrees", "14", "--passes", "3")
    assert seen == {"family": "white", "degrees": 14.0, "passes": 3}


def test_no_option_at_all_leaves_the_family_to_the_models(cellar: typer.Typer, seen: dict[str, Any]) -> None:
    call(cellar)
    assert seen == {}


def test_a_family_that_there_is_not_is_refused(cellar: typer.Typer, seen: dict[str, Any]) -> None:
    assert "'rose' is not one of 'red', 'white'" in call(cellar, "--family", "rose")
    assert not seen


def test_a_field_that_families_share_is_one_option_that_says_what_it_is_in_each(cellar: typer.Typer) -> None:
    text = re.sub(r"[\s│]+", " ", call(cellar, "--help"))
    assert "red: fermented on its skins; white: fermented as must" in text
    pressed = "how often the grapes are pressed [default: 2]; white: how gently the grapes are pressed [default: 1]"
    assert f"red: {pressed}" in text
    assert "what the label says [default: plain]" in text
    assert "red: what the label says" not in text
    assert "Wine of red" in text
    assert "Wine of white" in text


def test_each_name_is_one_option() -> None:
    names = [parameter.name for parameter in WINES.parameters()]
    assert sorted(names) == ["days", "degrees", "family", "label", "passes"]


def test_a_message_about_a_field_of_any_family_names_the_option_instead() -> None:
    message = "Change `wine.days` in the run config, or `wine.degrees`, or `wine.family`."
    assert WINES.in_flags(message) == "Change --days, or --degrees, or --family."


def test_hyperparameters_of_one_name_are_read_as_one_type() -> None:
    for name in {*MODELS[0].model_fields} & {*MODELS[1].model_fields} - {"family"}:
        assert len({model.model_fields[name].annotation for model in MODELS}) == 1


def test_reserved_fields_are_all_other_options() -> None:
    """No hyperparameter of any family can have the name of another option of the command."""
    hyperparameters = {parameter.name for parameter in HYPERPARAMETERS.parameters()}
    assert {*inspect.signature(run).parameters} - hyperparameters == RESERVED_FIELDS - {"help", "json"}
