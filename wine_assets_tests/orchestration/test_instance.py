from pathlib import Path

import pytest
from dagster._core.run_coordinator import DefaultRunCoordinator

from wine_assets.errors import SettingsError
from wine_assets.orchestration import instance
from wine_assets.settings import Home


def test_the_dagster_home_is_made_once_and_a_users_changes_to_it_stay(home: Home) -> None:
    configuration = home.dagster / "dagster.yaml"
    instance.prepare(home)
    assert configuration.read_text() == instance.CONFIGURATION
    configuration.write_text("telemetry:\n  enabled: true\n")
    instance.prepare(home)
    assert configuration.read_text() == "telemetry:\n  enabled: true\n"


def test_the_instance_lies_in_the_home_and_reports_to_nobody(home: Home) -> None:
    with instance.quiet_instance(home) as dagster:
        assert Path(dagster.root_directory) == home.dagster
        assert not dagster.telemetry_enabled
        assert not dagster.nux_enabled
        assert dagster.run_monitoring_enabled
        assert isinstance(dagster.run_coordinator, DefaultRunCoordinator)


def test_the_quiet_instance_writes_no_log_lines(home: Home) -> None:
    with instance.quiet_instance(home) as dagster:
        assert dagster.python_log_level == "CRITICAL"


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="WINE_ASSETS_HOME to a folder that can be") as refusal:
        instance.prepare(Home(tmp_path / "file" / "home"))
    assert str(tmp_path / "file" / "home") in str(refusal.value)
