from collections.abc import Callable
from pathlib import Path

import pytest

from wine_assets import settings
from wine_assets.errors import SettingsError


def _unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name, raising=False)


def _empty(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")


Absence = Callable[[pytest.MonkeyPatch, str], None]


@pytest.mark.parametrize("absent", [_unset, _empty])
def test_the_home_is_a_hidden_folder_of_the_working_directory_when_nothing_else_is_said(
    absent: Absence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    absent(monkeypatch, "WINE_ASSETS_HOME")
    assert settings.home().path == tmp_path / ".wine_assets"


def test_the_home_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINE_ASSETS_HOME", str(tmp_path / "elsewhere"))
    assert settings.home().path == tmp_path / "elsewhere"


def test_a_relative_home_is_made_absolute_so_that_a_change_of_folder_does_not_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINE_ASSETS_HOME", "here")
    home = settings.home()
    monkeypatch.chdir("/")
    assert home.path == tmp_path / "here"


def test_asking_for_the_home_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINE_ASSETS_HOME", str(tmp_path / "elsewhere"))
    assert not settings.home().data.exists()
    assert not (tmp_path / "elsewhere").exists()


def test_the_home_holds_a_folder_for_each_kind_of_thing(tmp_path: Path) -> None:
    home = settings.Home(tmp_path)
    folders = {home.dagster, home.data, home.reports, home.incoming}
    assert folders == {tmp_path / name for name in ("dagster", "data", "reports", "incoming")}


def test_a_variable_that_a_configuration_refers_to_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINE_URL", "sqlite:///wine.db")
    assert settings.variable("WINE_URL") == "sqlite:///wine.db"


@pytest.mark.parametrize("absent", [_unset, _empty])
def test_a_variable_that_is_not_there_is_named(absent: Absence, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, "WINE_URL")
    with pytest.raises(SettingsError, match=r"^The environment variable WINE_URL is not set, .* Set it and try again"):
        settings.variable("WINE_URL")


@pytest.mark.parametrize("absent", [_unset, _empty])
@pytest.mark.parametrize(
    "name",
    [
        settings.EXECUTOR_VARIABLE,
        settings.WATCH_VARIABLE,
        settings.CRON_VARIABLE,
        settings.TIMEZONE_VARIABLE,
    ],
)
def test_an_optional_variable_has_its_default(absent: Absence, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, name)
    assert settings.optional(name, "the default") == "the default"
    monkeypatch.setenv(name, "a value")
    assert settings.optional(name, "the default") == "a value"


@pytest.mark.parametrize("absent", [_unset, _empty])
def test_without_overrides_the_declared_requests_stand(absent: Absence, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, settings.COMPUTE_VARIABLE)
    assert settings.compute_overrides() == {}


def test_overrides_are_a_json_object_of_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.COMPUTE_VARIABLE, '{"raw_wine": {"memory": "2Gi", "cpu": 2}}')
    assert settings.compute_overrides() == {"raw_wine": {"memory": "2Gi", "cpu": 2}}


@pytest.mark.parametrize("text", ["2Gi", "{", "[]", "3", "null", '"raw_wine"', "{raw_wine: 2Gi}", " "])
def test_overrides_that_are_no_json_object_are_refused_with_an_example(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.COMPUTE_VARIABLE, text)
    with pytest.raises(SettingsError) as refusal:
        settings.compute_overrides()
    assert str(refusal.value) == (
        f"WINE_ASSETS_COMPUTE must be a JSON object of asset names and compute requests, got {text!r}. "
        'Write, for example: {"raw_wine": {"memory": "2Gi"}}.'
    )
