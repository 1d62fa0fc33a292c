"""The code location as a whole; `python -m wine_assets_tests.test_definitions` writes its snapshot anew."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from wine_assets import settings
from wine_assets.definitions import build_definitions
from wine_assets.errors import ComputeRequestError, SettingsError
from wine_assets.orchestration import instance
from wine_assets.settings import Home
from wine_assets_tests.support.fresh_definitions import fresh_definitions

ROOT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).with_name("definitions_snapshot.json")
HEAVY = {"pandas", "sklearn", "onnx", "matplotlib", "numpy", "scipy", "pyarrow", "onnxruntime", "skops", "ray", "torch"}


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WINE_ASSETS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """A project's home and an activated environment, as a developer's shell has them."""
    home = Home(tmp_path)
    instance.prepare(home)
    return os.environ | {
        "DAGSTER_HOME": str(home.dagster),
        settings.HOME_VARIABLE: str(home.path),
        "VIRTUAL_ENV": str(Path(sys.prefix)),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def _snapshot() -> dict[str, dict[str, dict[str, Any]]]:
    definitions = build_definitions()
    repository = definitions.get_repository_def()
    return {
        "assets": {spec.key.to_user_string(): _asset(definitions, spec) for spec in _specs(definitions)},
        "jobs": {name: _job(definitions, name) for name in ("data_job", "search_job", "training_job")},
        "schedules": {schedule.name: _schedule(schedule) for schedule in repository.schedule_defs},
        "sensors": {sensor.name: _sensor(sensor) for sensor in repository.sensor_defs},
        "resources": {name: {"type": type(value).__name__} for name, value in _resources(definitions).items()},
    }


def _specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    return sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key)


def _asset(definitions: dg.Definitions, spec: dg.AssetSpec) -> dict[str, Any]:
    asset = definitions.resolve_assets_def(spec.key)
    op_tags, retries = _asked(asset)
    tags = {name: json.loads(value) for name, value in op_tags.items() if name.endswith("/config")}
    return {
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": [*spec.owners],
        # The versions of libraries come from constraints.txt.
        "code_version": re.sub(r"-\d[\d.]*", "", str(spec.code_version)),
        "automation": str(spec.automation_condition.get_label()) if spec.automation_condition else None,
        "kubernetes": tags["dagster-k8s/config"]["container_config"]["resources"],
        "ray": tags["dagster-ray/config"],
        "retries": retries.max_retries if retries else 0,
        "checks": [check.name for check in asset.check_specs if not check.blocking],
        "blocking_checks": [check.name for check in asset.check_specs if check.blocking],
        "description": spec.description,
    }


def _asked(asset: dg.AssetsDefinition) -> tuple[Mapping[str, Any], dg.RetryPolicy | None]:
    """Return the tags and the retries of the step that does the work."""
    node = asset.node_def
    if isinstance(node, dg.GraphDefinition):
        [work] = [each for each in node.nodes if each.name == "run_chunk"]
        assert isinstance(work.definition, dg.OpDefinition)
        return work.tags, work.definition.retry_policy
    return asset.op.tags, asset.op.retry_policy


def _job(definitions: dg.Definitions, name: str) -> dict[str, Any]:
    job = definitions.resolve_job_def(name)
    return {"assets": sorted(node.name for node in job.nodes), "executor": job.executor_def.name}


def _schedule(schedule: dg.ScheduleDefinition) -> dict[str, Any]:
    clock = f"{schedule.cron_schedule} {schedule.execution_timezone}"
    return {"job": schedule.job_name, "clock": clock, "status": schedule.default_status.value}


def _sensor(sensor: dg.SensorDefinition) -> dict[str, Any]:
    jobs = [target.job_name for target in sensor.targets]
    return {"jobs": jobs, "interval_s": sensor.minimum_interval_seconds, "status": sensor.default_status.value}


def _resources(definitions: dg.Definitions) -> Mapping[str, Any]:
    return definitions.resources or {}


def _written(snapshot: Mapping[str, Any]) -> str:
    """Return the snapshot as JSON with one line for each fact."""
    text = json.dumps(snapshot, indent=1, sort_keys=True)
    return re.sub(r"\n {4,}(\S)", r" \1", re.sub(r"\n {3}([\]}])", r" \1", text)) + "\n"


def test_the_definitions_are_those_of_the_snapshot() -> None:
    assert _snapshot() == json.loads(SNAPSHOT.read_text())


def test_the_snapshot_stays_short_enough_to_be_read() -> None:
    assert len(SNAPSHOT.read_text().splitlines()) < 200


@pytest.mark.process
def test_loading_the_definitions_imports_no_heavy_library_and_warns_of_nothing() -> None:
    program = "import sys, wine_assets.definitions; print(*sorted(sys.modules))"
    done = _run([sys.executable, "-W", "error", "-c", program], os.environ)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stdout.split()) == set()
    assert done.stderr == ""


COMMANDS = [
    ["dagster", "definitions", "validate"],
    ["dagster", "definitions", "validate", "--workspace", "workspace.yaml"],
    ["dg", "check", "defs"],
]


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_dagsters_own_checks_pass_without_a_warning_of_ours(environment: Mapping[str, str], command: list[str]) -> None:
    done = _run([str(Path(sys.executable).with_name(command[0])), *command[1:]], environment)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert re.search("passed validation|definitions loaded successfully", said)
    assert "WARNING" not in said
    assert not re.search(r"/wine_assets/\S+:\d+: \w*Warning", said)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ('{"raw_wine": {"memory": "banana"}}', r"The compute request of raw_wine: memory must be .*, got 'banana'"),
        ('{"wine_model": {"cpu": "-1"}}', r"The compute request of wine_model: cpu must be .*, got '-1'"),
        ('{"wine_model": {"memory_limit": "1Mi"}}', r"wine_model: memory_limit must be at least `memory` \(1Gi\)"),
        ('{"wine_model": {"disk": "1Gi"}}', r"wine_model: 'disk' is not a field of a compute request"),
        ('{"red_wine": {"memory": "1Gi"}}', r"There is no asset 'red_wine' .* Name one of .*raw_wine"),
        ('{"raw_wine": "1Gi"}', r"The compute request of raw_wine must be an object of fields, got '1Gi'"),
    ],
)
def test_a_compute_request_that_makes_no_sense_fails_the_load_and_names_asset_and_field(
    monkeypatch: pytest.MonkeyPatch, override: str, sentence: str
) -> None:
    monkeypatch.setenv(settings.COMPUTE_VARIABLE, override)
    with pytest.raises(ComputeRequestError, match=sentence):
        fresh_definitions(monkeypatch)


@pytest.mark.parametrize("text", ["banana", "[]", "3"])
def test_compute_requests_that_are_no_json_object_fail_the_load(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(settings.COMPUTE_VARIABLE, text)
    with pytest.raises(SettingsError, match="WINE_ASSETS_COMPUTE must be a JSON object"):
        fresh_definitions(monkeypatch)


def _run(command: list[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False, timeout=120
    )


if __name__ == "__main__":
    SNAPSHOT.write_text(_written(_snapshot()))
