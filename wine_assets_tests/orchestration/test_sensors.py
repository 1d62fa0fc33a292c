import json
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from sklearn.datasets import load_wine

from wine_assets import settings
from wine_assets.orchestration import sensors

# Dagster reads this deprecated property of its own whenever it loads a location that has a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars` is deprecated")

IN_THIS_PROCESS = {
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "telemetry": {"enabled": False},
}


@pytest.fixture
def folder(home: settings.Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The watched folder, where a file counts as whole at once."""
    monkeypatch.setattr(sensors, "SETTLED_S", 0.0)
    home.incoming.mkdir(parents=True)
    return home.incoming


class Ticks:
    """What the daemon does with a sensor, without the runs: it keeps the cursor, and drops a run key that it knows."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self.cursor: str | None = None
        self.keys: list[str] = []
        self._definitions = definitions

    def evaluate(self, *, commit: bool = True) -> list[str]:
        """Evaluate until nothing is asked for, or once without a commit; return the files that got new runs."""
        result = self.evaluated()
        asked = result.run_requests or []
        new = [request for request in asked if request.run_key not in self.keys]
        self.keys.extend(str(request.run_key) for request in new)
        names = [request.tags["wine_assets/file"] for request in new]
        if not commit:
            return names
        self.cursor = result.cursor
        return names + (self.evaluate() if asked else [])

    def evaluated(self) -> dg.SensorResult:
        """Evaluate once, and return what the daemon gets."""
        context = dg.build_sensor_context(instance=self._instance, cursor=self.cursor, definitions=self._definitions)
        result = sensors.incoming_sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result


@pytest.fixture
def ticks(folder: Path, definitions: dg.Definitions) -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(definitions, instance)


def _write(path: Path, content: str) -> None:
    """Write a file as programs do: beside its place, then into it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(content)
    temporary.replace(path)


def test_a_new_file_starts_one_run_that_reads_it(folder: Path, ticks: Ticks, definitions: dg.Definitions) -> None:
    _write(folder / "wine.csv", "a")
    (request,) = ticks.evaluated().run_requests or []
    resolved = dg.validate_run_config(definitions.resolve_job_def("data_job"), request.run_config)
    source = resolved["ops"]["raw_wine"]["config"]["source"]
    assert source["file"]["path"] == str(folder / "wine.csv")


def test_a_file_starts_no_second_run(folder: Path, ticks: Ticks) -> None:
    _write(folder / "wine.csv", "a")
    assert ticks.evaluate() == ["wine.csv"]
    assert ticks.evaluate() == []
    (folder / "wine.csv").touch()
    assert ticks.evaluate() == []


def test_a_crash_between_the_request_and_its_commit_starts_no_second_run(folder: Path, ticks: Ticks) -> None:
    _write(folder / "wine.csv", "a")
    assert ticks.evaluate(commit=False) == ["wine.csv"]
    assert ticks.evaluate() == []


def test_a_lost_cursor_starts_no_second_run(folder: Path, ticks: Ticks) -> None:
    _write(folder / "wine.csv", "a")
    ticks.evaluate()
    ticks.cursor = None
    assert ticks.evaluate() == []


def test_a_file_that_goes_back_to_what_it_was_is_new_work(folder: Path, ticks: Ticks) -> None:
    for content in "aba":
        _write(folder / "wine.csv", content)
        assert ticks.evaluate() == ["wine.csv"]
    assert len(set(ticks.keys)) == 3


def test_a_file_that_goes_back_to_what_it_was_is_new_work_even_when_the_cursor_was_lost(
    folder: Path, ticks: Ticks
) -> None:
    for content in "aba":
        _write(folder / "wine.csv", content)
        ticks.cursor = None
        assert ticks.evaluate() == ["wine.csv"]
        ticks.cursor = None
        assert ticks.evaluate() == []


def test_an_old_file_that_is_restored_with_its_old_time_is_new_work(folder: Path, ticks: Ticks) -> None:
    for content in "aba":
        _write(folder / "wine.csv", content)
        os.utime(folder / "wine.csv", (1_000_000_000, 1_000_000_000))
        assert ticks.evaluate() == ["wine.csv"]


def test_a_cursor_that_moved_back_starts_no_second_run_and_drops_none(folder: Path, ticks: Ticks) -> None:
    _write(folder / "wine.csv", "a")
    ticks.evaluate()
    old = ticks.cursor
    _write(folder / "wine.csv", "b")
    assert ticks.evaluate() == ["wine.csv"]
    ticks.cursor = old
    assert ticks.evaluate() == []
    _write(folder / "wine.csv", "a")
    assert ticks.evaluate() == ["wine.csv"]


def test_two_files_with_the_same_content_are_two_files(folder: Path, ticks: Ticks) -> None:
    _write(folder / "b.csv", "a")
    _write(folder / "a.csv", "a")
    assert ticks.evaluate() == ["b.csv", "a.csv"], "the older first"


def test_files_that_come_together_are_asked_for_one_at_a_time(folder: Path, ticks: Ticks) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        _write(folder / name, name)
    assert len(ticks.evaluated().run_requests or []) == 1


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_file_waits_while_another_is_read(
    folder: Path, definitions: dg.Definitions, status: dg.DagsterRunStatus
) -> None:
    _write(folder / "wine.csv", "a")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.create_run_for_job(definitions.resolve_job_def("data_job"), status=status)
        skipped = sensors.incoming_sensor(dg.build_sensor_context(instance=instance, definitions=definitions))
    assert isinstance(skipped, dg.SkipReason)


def test_a_thousand_evaluations_start_one_run_for_each_content(folder: Path, ticks: Ticks) -> None:
    """Files change, evaluations are repeated, crash before their commit, and lose their cursor."""
    chance = random.Random(0)  # noqa: S311 - the same walk each time
    contents = dict.fromkeys(["a.csv", "b.parquet", "c.data"], "")
    evaluations = changes = runs = 0
    while evaluations < 1_000:
        name = chance.choice([*contents])
        contents[name] = chance.choice([content for content in "xyz" if content != contents[name]])
        _write(folder / name, contents[name])
        changes += 1
        for commit in (*chance.choices([True, False], k=chance.randrange(5)), True):
            ticks.cursor = chance.choice([ticks.cursor, ticks.cursor, None])
            runs += len(ticks.evaluate(commit=commit))
            evaluations += 1
    assert changes > 200
    assert runs == changes


def test_a_file_that_is_still_being_written_is_waited_for(
    folder: Path, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "SETTLED_S", 3600.0)
    with (folder / "wine.csv").open("w") as file:
        file.write("half")
        assert ticks.evaluate() == []
        file.write(" and half")
    os.utime(folder / "wine.csv", (1_000_000_000, 1_000_000_000))
    assert ticks.evaluate() == [], "it was changed now, whatever time it claims"
    monkeypatch.setattr(sensors, "SETTLED_S", 0.0)
    assert ticks.evaluate() == ["wine.csv"]


def test_hidden_files_foreign_files_and_folders_are_left_alone(folder: Path, ticks: Ticks) -> None:
    for name in (".wine.csv", "wine.csv.part", "notes.txt", "wine"):
        (folder / name).write_text("a")
    (folder / "folder.csv").mkdir()
    (folder / "loop.csv").symlink_to(folder / "nowhere")
    assert ticks.evaluate() == []


@pytest.mark.parametrize("name", ["wine.csv", "WINE.CSV", "wine.data", "wine.csv.gz", "wine.parquet"])
def test_every_kind_of_data_file_is_seen(folder: Path, ticks: Ticks, name: str) -> None:
    (folder / name).write_text("a")
    assert ticks.evaluate() == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="a file that even root can't read is one of /proc")
def test_a_file_that_cannot_be_read_stands_in_no_other_files_way(folder: Path, ticks: Ticks) -> None:
    (folder / "a.csv").symlink_to("/proc/self/mem")
    (folder / "b.csv").write_text("b")
    assert ticks.evaluate() == ["b.csv"]
    (folder / "a.csv").unlink()
    (folder / "a.csv").write_text("a")
    assert ticks.evaluate() == ["a.csv"]


def test_a_file_that_vanishes_while_it_is_looked_at_is_none(folder: Path) -> None:
    there, gone = folder / "there.csv", folder / "gone.csv"
    there.write_text("a")
    assert [*sensors._settled([gone, there])] == [there]
    stamps = sensors._settled([there])
    there.unlink()
    assert [*sensors._arrivals(stamps, {}, logging.getLogger())] == []


def test_a_folder_that_is_not_there_holds_nothing(folder: Path, ticks: Ticks) -> None:
    folder.rmdir()
    assert ticks.evaluate() == []


def test_the_cursor_forgets_files_that_are_gone(folder: Path, ticks: Ticks) -> None:
    _write(folder / "wine.csv", "a")
    ticks.evaluate()
    (folder / "wine.csv").unlink()
    ticks.evaluate()
    assert json.loads(ticks.cursor or "") == {}


def test_the_settings_name_the_watched_folder(ticks: Ticks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv(settings.WATCH_VARIABLE, str(elsewhere))
    (elsewhere / "wine.csv").write_text("a")
    assert ticks.evaluate() == ["wine.csv"]


@pytest.fixture
def daemon(folder: Path, tmp_path: Path) -> Iterator[Callable[..., list[dg.DagsterRun]]]:
    """Dagster's own daemon, evaluated once a call, on the real definitions; answers with all runs so far."""
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="wine_assets.definitions", executable_path=sys.executable)
    )
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), overrides=IN_THIS_PROCESS) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
    ):
        location = workspace.create_request_context().code_locations[0]
        sensor = location.get_repository("__repository__").get_sensor("incoming_sensor")
        instance.start_sensor(sensor)

        def tick(crash: str = "", *, rewind: bool = False) -> list[dg.DagsterRun]:
            _ready(instance, sensor.selector_id, rewind=rewind)
            flags = {"incoming_sensor": {crash: RuntimeError("the daemon is gone")}} if crash else None
            [*execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None, debug_crash_flags=flags)]
            return list(instance.get_runs())

        yield tick


def _ready(instance: dg.DagsterInstance, selector_id: str, *, rewind: bool) -> None:
    """Let the sensor be evaluated again at once, and without its cursor where it is to lose it."""
    (state,) = [s for s in instance.all_instigator_state() if s.selector_id == selector_id]
    data = state.instigator_data
    assert isinstance(data, SensorInstigatorData)
    fields = data._asdict() | {"last_tick_timestamp": None, "last_tick_start_timestamp": None}
    if rewind:
        fields["cursor"] = None
    assert isinstance(state, InstigatorState)
    instance.update_instigator_state(state.with_data(SensorInstigatorData(**fields)))


def test_dagsters_daemon_runs_data_job_once_for_each_content(
    folder: Path, daemon: Callable[..., list[dg.DagsterRun]]
) -> None:
    """Through repeated ticks, a lost cursor and a daemon that is gone right after it launched the run."""
    wine = load_wine(as_frame=True).frame
    assert daemon() == []
    wine.to_csv(folder / "wine.csv", index=False)
    daemon("RUN_LAUNCHED")
    runs = daemon()
    assert [(run.job_name, run.status) for run in runs] == [("data_job", dg.DagsterRunStatus.SUCCESS)]
    assert len(daemon()) == 1
    assert len(daemon(rewind=True)) == 1
    wine.drop(index=5).to_csv(folder / "wine.csv", index=False)
    assert len(daemon()) == 2
    wine.to_csv(folder / "wine.csv", index=False)
    assert len(daemon(rewind=True)) == 3
    assert all(run.is_success for run in daemon())
