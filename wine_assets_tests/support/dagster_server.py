"""A real `dagster dev` of the tests' own, on a home of its own; gone with every process of it when they end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from wine_assets import settings
from wine_assets.orchestration.instance import prepare

REPOSITORY = Path(__file__).parents[2]
_START_S = 240
_STOP_S = 30
_ANSWER_S = 120
_RUN_S = 300

_ASSETS = """{
  assetNodes {
    assetKey { path }
    groupName
    staleStatus
    assetMaterializations(limit: 1) {
      runId
      metadataEntries { label ... on JsonMetadataEntry { jsonString } }
    }
  }
}"""
_LAUNCH = """mutation ($job: String!, $location: String!, $repository: String!, $config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: $location, repositoryName: $repository, jobName: $job}
    runConfigData: $config
  }) {
    ... on LaunchRunSuccess { run { runId } }
    ... on Error { message }
  }
}"""
_REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
_TERMINATE = """mutation ($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) { __typename ... on Error { message } }
}"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status stepStats { stepKey } } } } }"


@dataclass(frozen=True)
class Asset:
    """What Dagster has on record of an asset."""

    group: str
    stale: bool
    run: str | None
    """The run that materialized it last."""
    metadata: Mapping[str, Any]
    """Its metadata of type JSON."""


@dataclass(frozen=True)
class Server:
    """Where the UI answers, and what its GraphQL says of the facts behind it."""

    url: str
    environment: Mapping[str, str]

    def assets(self) -> dict[str, Asset]:
        """Return what is on record of each asset, by its name."""
        return {node["assetKey"]["path"][-1]: _asset(node) for node in self._ask(_ASSETS)["assetNodes"]}

    def runs(self) -> dict[str, Any]:
        """Return the status and the started steps of every run, by its id."""
        runs = self._ask(_RUNS)["runsOrError"]["results"]
        return {run["runId"]: (run["status"], [step["stepKey"] for step in run["stepStats"]]) for run in runs}

    def launch(self, job: str, config: Mapping[str, Any]) -> str:
        """Launch a job as the launchpad does, and return the id of the run."""
        [repository] = self._ask(_REPOSITORIES)["repositoriesOrError"]["nodes"]
        where = {"repository": repository["name"], "location": repository["location"]["name"]}
        launched = self._ask(_LAUNCH, job=job, config=config, **where)["launchRun"]
        return str(launched["run"]["runId"])

    def terminate(self, run: str) -> None:
        """Ask a run to stop, as the button of its page does."""
        asked = self._ask(_TERMINATE, run=run)["terminateRun"]
        assert asked["__typename"] == "TerminateRunSuccess", asked

    def wait_for_status(self, run: str, status: str) -> None:
        """Wait until a run has a status."""
        end = time.monotonic() + _RUN_S
        while (now := self.runs()[run][0]) != status:
            assert time.monotonic() < end, f"the run is {now}, not {status}"
            time.sleep(0.5)

    @property
    def home(self) -> Path:
        """The project's home."""
        return Path(self.environment["WINE_ASSETS_HOME"])

    def processes(self) -> set[psutil.Process]:
        """Return every process of this home: servers, daemons and runs, but for one that Python keeps of its own."""
        return {process for process in _processes_of(self.home) if not _is_resource_tracker(process)}

    def command(self, *arguments: str) -> None:
        """Run `wine-assets` on the same home."""
        program = Path(sys.executable).with_name("wine-assets")
        subprocess.run([program, *arguments], env=self.environment, cwd=REPOSITORY, check=True, capture_output=True)

    def answers(self) -> bool:
        """Say whether the server is up and has loaded the definitions."""
        try:
            return bool(self._ask("{ assetNodes { id } }")["assetNodes"])
        except (OSError, ValueError):
            return False

    def _ask(self, query: str, **variables: Any) -> Any:
        asked = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL is ours
            f"{self.url}/graphql", asked, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as response:  # noqa: S310 - likewise
            return json.load(response)["data"]


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Start `dagster dev` as a person does who has the repository, yield where it answers, and stop it."""
    port = _free_port()
    home = settings.Home(folder / "home")
    prepare(home)
    _look_often_for_dead_runs(home.dagster / "dagster.yaml")
    environment = os.environ | {"WINE_ASSETS_HOME": str(home.path), "DAGSTER_HOME": str(home.dagster)}
    server = Server(f"http://127.0.0.1:{port}", environment)
    command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (folder / "dagster-dev.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            _wait_until_it_answers(server, process, Path(log.name))
            yield server
        finally:
            _stop(process, home.path)


def _look_often_for_dead_runs(configuration: Path) -> None:
    """Have the daemon look every 2 s whether a run's process is there; it does so every 120 s by default."""
    section = "run_monitoring:\n"
    text = configuration.read_text()
    assert section in text
    configuration.write_text(text.replace(section, f"{section}  poll_interval_seconds: 2\n"))


def _asset(node: Mapping[str, Any]) -> Asset:
    latest: Mapping[str, Any] = next(iter(node["assetMaterializations"]), {"runId": None, "metadataEntries": []})
    entries = [entry for entry in latest["metadataEntries"] if "jsonString" in entry]
    metadata = {entry["label"]: json.loads(entry["jsonString"]) for entry in entries}
    return Asset(node["groupName"], node["staleStatus"] == "STALE", latest["runId"], metadata)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_until_it_answers(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_S
    while not server.answers():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"dagster dev did not come up: {log.read_text()}")
        time.sleep(0.5)


def _stop(process: "subprocess.Popen[bytes]", home: Path) -> None:
    """Press Ctrl-C, as a person would; kill what is still there after a while."""
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    _, stubborn = psutil.wait_procs(list(_processes_of(home)), timeout=_STOP_S)
    for one in stubborn:
        one.kill()
    psutil.wait_procs(stubborn, timeout=_STOP_S)


def _is_resource_tracker(process: psutil.Process) -> bool:
    try:
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return True


def _processes_of(home: Path) -> Iterator[psutil.Process]:
    """Yield every process that was started for this home: servers, daemons and runs."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("WINE_ASSETS_HOME") == str(home):
                yield process
