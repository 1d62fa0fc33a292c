"""Runs and steps that are jobs of a Ray cluster, as the guide has them set up."""

import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from wine_assets import settings
from wine_assets.orchestration import instance
from wine_assets_tests.support.processes import PATIENCE_S, eventually

pytestmark = [
    pytest.mark.process,
    pytest.mark.soak,
    pytest.mark.skipif("SOAK" not in os.environ, reason="takes minutes; `make soak` runs it"),
]
GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
ADDRESS = "http://127.0.0.1:8265"
BIN = Path(sys.executable).parent
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard of a cluster on this machine, which no token in the user's home is asked for."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"port": 0, "dashboard-port": port, "num-cpus": 3, "memory": 4 << 30, "object-store-memory": 100 << 20}
    command: list[str | Path] = [BIN / "ray", "start", "--head", "--block", "--disable-usage-stats"]
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        log = Path(folder) / "log"
        arguments = [*(f"--{name}={value}" for name, value in options.items()), f"--temp-dir={folder}"]
        with log.open("wb") as file, subprocess.Popen([*command, *arguments], stdout=file, stderr=file) as head:
            eventually(lambda: "Ray runtime started" in log.read_text() or head.poll() is not None)
            assert head.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}"
            head.terminate()
            head.wait(PATIENCE_S)


def launcher_of_the_guide(address: str) -> str:
    _, _, rest = GUIDE.read_text().partition("    run_launcher:\n")
    snippet, _, _ = rest.partition("\n\n")
    assert ADDRESS in snippet
    return textwrap.dedent("    run_launcher:\n" + snippet.replace(ADDRESS, address)) + "\n"


def test_a_run_and_each_of_its_steps_are_jobs_of_ray(
    home: settings.Home, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.prepare(home)
    with (home.dagster / "dagster.yaml").open("a") as file:
        file.write(launcher_of_the_guide(address))
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    monkeypatch.setenv(settings.EXECUTOR_VARIABLE, "ray")
    monkeypatch.setenv(settings.COMPUTE_VARIABLE, "{}")
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    subprocess.run([BIN / "dagster", "job", "launch", "-m", "wine_assets.definitions", "-j", "data_job"], check=True)
    with dg.DagsterInstance.get() as dagster:
        eventually(lambda: dagster.get_runs()[0].status in ENDED)
        [run] = dagster.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
    assert {path.name for path in home.data.iterdir()} == {"raw_wine", "binarized_wine"}
    from ray.job_submission import JobSubmissionClient

    jobs = [str(job.submission_id) for job in JobSubmissionClient(address).list_jobs()]
    assert sorted(job.split("-")[1] for job in jobs) == ["run", "step", "step"]
