import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import dagster as dg
import psutil
import pytest

from wine_assets.orchestration import run_watchdog
from wine_assets.orchestration.instance import quiet_instance
from wine_assets.settings import Home

pytestmark = pytest.mark.process

_PATIENCE_S = 60.0
RUN = """
from wine_assets import settings
from wine_assets.definitions import defs
from wine_assets.orchestration import instance, runs

def say(event):
    if event.is_step_start:
        print(event.step_key, flush=True)

with instance.quiet_instance(settings.home()) as dagster:
    runs.execute(dagster, defs.resolve_job_def("training_job"), {}, runs.all_assets(), say)
"""


@pytest.fixture
def project(home: Home) -> Iterator[dg.DagsterInstance]:
    with quiet_instance(home) as instance:
        yield instance


def _guardians(home: Home) -> list[psutil.Process]:
    """Return the guardians of runs in this home that are alive."""
    mine = str(home.dagster)
    return [process for process in psutil.process_iter(["cmdline"]) if mine in (process.info["cmdline"] or [])]


def _wait_until(come_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not come_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_whose_process_is_killed_is_recorded_as_failed_and_no_process_stays(
    project: dg.DagsterInstance, home: Home, interpreter: str
) -> None:
    with subprocess.Popen([interpreter, "-c", RUN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "raw_wine\n"
        assert len(_guardians(home)) == 1
        run.send_signal(signal.SIGKILL)
    _wait_until(lambda: all(record.is_finished for record in project.get_runs()))
    (record,) = project.get_runs()
    assert record.is_failure
    messages = [entry.message for entry in project.all_logs(record.run_id)]
    assert any("The process of this run ended in the middle of it" in message for message in messages)
    _wait_until(lambda: not _guardians(home))


def test_a_block_that_ends_well_leaves_no_guardian(project: dg.DagsterInstance, home: Home) -> None:
    with run_watchdog.guarded(home.dagster, "a run"):
        assert len(_guardians(home)) == 1
    assert _guardians(home) == []


def test_a_block_that_raises_leaves_no_guardian(home: Home) -> None:
    with pytest.raises(KeyError), run_watchdog.guarded(home.dagster, "a run"):
        raise KeyError
    assert _guardians(home) == []


def _watch(monkeypatch: pytest.MonkeyPatch, home: Home, run_id: str, said: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(said)))
    run_watchdog.watch(str(home.dagster), run_id)


@pytest.fixture
def started(project: dg.DagsterInstance, definitions: dg.Definitions) -> str:
    """The id of a run that is under way."""
    job = definitions.resolve_job_def("data_job")
    return project.create_run_for_job(job, run_config={}, status=dg.DagsterRunStatus.STARTED).run_id


@pytest.mark.parametrize(
    ("said", "status"), [(b"", dg.DagsterRunStatus.FAILURE), (b"done", dg.DagsterRunStatus.STARTED)]
)
def test_a_guardian_fails_the_run_unless_it_is_told_that_all_is_done(
    project: dg.DagsterInstance, home: Home, started: str, monkeypatch: pytest.MonkeyPatch, said: bytes, status: object
) -> None:
    _watch(monkeypatch, home, started, said)
    run = project.get_run_by_id(started)
    assert run is not None
    assert run.status is status


def test_a_guardian_leaves_a_finished_run_as_it_is(
    project: dg.DagsterInstance, home: Home, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = project.get_run_by_id(started)
    assert run is not None
    project.report_run_canceled(run)
    _watch(monkeypatch, home, started, b"")
    finished = project.get_run_by_id(started)
    assert finished is not None
    assert finished.status is dg.DagsterRunStatus.CANCELED


def test_a_guardian_of_a_run_that_was_never_recorded_does_nothing(
    project: dg.DagsterInstance, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    _watch(monkeypatch, home, "nobody", b"")
    assert project.get_runs() == []


def test_the_guardian_itself_is_light(interpreter: str) -> None:
    """It waits beside every run, so it imports Dagster only where there is something to record."""
    program = "import sys, wine_assets.orchestration.run_watchdog; print('dagster' in sys.modules)"
    done = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
