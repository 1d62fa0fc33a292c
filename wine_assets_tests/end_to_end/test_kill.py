"""What is on disk, and on record, after a run was killed with SIGKILL."""

import functools
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import pytest

from wine_assets import settings
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference import ModelRepository
from wine_assets.inference.manifest import content_sha256
from wine_assets.inference.predictor import Predictor
from wine_assets.orchestration import data_versions, instance, runs
from wine_assets_tests.support.command_line import ASSETS
from wine_assets_tests.support.command_line import runs as recorded_runs
from wine_assets_tests.support.warm_cli import WarmCli

WATCHDOGS_S = 120
ANSWER = ("run", "--force", "--folds", "3", "--permutations", "1")
KILLED = [(*ANSWER, "--C", C) for C in ("0.1", "10", "100")]
"""The commands that are killed, in turn: each has all six assets to make, and three of them anew."""

pytestmark = pytest.mark.xdist_group("warm_cli")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Home:
    monkeypatch.setenv(settings.HOME_VARIABLE, str(tmp_path / "home"))
    return settings.home()


@functools.cache
def _checked_model(content: bytes) -> dict[str, str]:
    import onnx

    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert Predictor(content).features
    return {prop.key: prop.value for prop in model.metadata_props}


def _whole_frame(path: Path) -> None:
    import pandas as pd

    assert len(pd.read_parquet(path))


def _whole_fitted_model(path: Path) -> None:
    from wine_assets.models.formats import model_file

    assert hasattr(model_file.load(path).estimator, "predict_proba")


def _whole_model(path: Path) -> None:
    assert _checked_model(path.read_bytes())


def _whole_json(path: Path) -> None:
    assert json.loads(path.read_bytes())


def _whole_page(path: Path) -> None:
    page = path.read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")


WHOLE: dict[str, Callable[[Path], None]] = {
    ".parquet": _whole_frame,
    ".zip": _whole_fitted_model,
    ".onnx": _whole_model,
    ".json": _whole_json,
    ".html": _whole_page,
}


class Disk:
    """The files of a home; content that was once found whole is not parsed again."""

    def __init__(self, home: settings.Home) -> None:
        self._home = home
        self._whole: set[tuple[str, bytes]] = set()

    def check(self) -> None:
        """Read every file, and what is on record."""
        for path in self._files():
            if not path.name.startswith(TEMPORARY_PREFIX):
                self._check_file(path)
        self._check_records()

    def temporaries(self) -> list[Path]:
        """Return the files that killed writers left behind."""
        return [path for path in self._files() if path.name.startswith(TEMPORARY_PREFIX)]

    def _files(self) -> list[Path]:
        folders = (self._home.data, self._home.reports)
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def _check_file(self, path: Path) -> None:
        known = (path.suffix, hashlib.sha256(path.read_bytes()).digest())
        if known not in self._whole:
            WHOLE[path.suffix](path)
            self._whole.add(known)

    def _check_records(self) -> None:
        with instance.quiet_instance(self._home) as dagster:
            for name in ASSETS:
                record = data_versions.latest(dagster, dg.AssetKey(name))
                assert record is not None
                assert record.asset_materialization is not None
                path = Path(str(record.asset_materialization.metadata["path"].value))
                assert path.stem == data_versions.recorded(record)
                assert path.exists(), f"{name} is on record, and its file is gone"
                self._check_file(path)
                if name == "model_evaluation":
                    self._check_file(Path(str(record.asset_materialization.metadata["report"].value)))


def _kill_points(events: list[str]) -> list[int]:
    """Choose the first event, and each rename: just before it, or just after, when the result is not on record yet."""
    renames = [number for number, name in enumerate(events) if name == "os.rename"]
    assert len(renames) > len(ASSETS), "every asset's file, the report and the champion come by a rename"
    return [0, *(number + order % 2 for order, number in enumerate(renames))]


def _check_kills(
    warm_cli: WarmCli, home: settings.Home, choose: Callable[[list[str]], Sequence[int]], uninterrupted: settings.Home
) -> None:
    """Kill a run at each of the chosen events and look at the disk after each; then run on to the end."""
    assert warm_cli.run(home.path, *KILLED[0]).status == 0
    points = choose(warm_cli.events(home.path, *KILLED[1]))
    disk = Disk(home)
    for number, point in enumerate(points):
        with warm_cli.start(home.path, *KILLED[number % len(KILLED)], kill_at=point) as process:
            assert process.wait() == -signal.SIGKILL
        disk.check()
    assert 0 < len(disk.temporaries()) <= len(points)
    _check_aftermath(warm_cli, home, disk, uninterrupted)
    outcomes = [run.status for run in recorded_runs(home.path)]
    assert outcomes.count(dg.DagsterRunStatus.FAILURE) > len(points) / 2, "what was killed counts as failed in the end"


def _wait_for_watchdogs(home: settings.Home) -> None:
    deadline = time.monotonic() + WATCHDOGS_S
    while any(not run.is_finished for run in recorded_runs(home.path)):
        assert time.monotonic() < deadline, "a killed run still counts as at work"
        time.sleep(0.5)


def _results(home: settings.Home) -> dict[str, str]:
    """Return a hash of what each asset on record holds, and of what the champion says of itself but for its origin.

    A .zip file is an archive with times in it, and a release has times and a version of its own.
    """
    with instance.quiet_instance(home) as dagster:
        metadata = runs.latest_metadata(dagster)
    paths = {name: Path(metadata[name]["path"]) for name in ASSETS if name != "released_model"}
    results = {name: hashlib.sha256(_content(path)).hexdigest() for name, path in paths.items()}
    released = json.loads(Path(metadata["released_model"]["path"]).read_bytes())
    champion = ModelRepository.named(home.models, released["model"]).read()
    assert (champion.version, champion.manifest_sha256) == (released["version"], released["manifest_sha256"])
    return results | {"released_model": content_sha256(champion.manifest.content)}


def _content(path: Path) -> bytes:
    from wine_assets.models.formats import model_file

    if path.suffix != ".zip":
        return path.read_bytes()
    model = model_file.load(path).estimator[-1]
    return bytes(model.coef_.tobytes() + model.intercept_.tobytes())


def _check_aftermath(warm_cli: WarmCli, home: settings.Home, disk: Disk, uninterrupted: settings.Home) -> None:
    _wait_for_watchdogs(home)
    for path in disk.temporaries():
        os.utime(path, (0, 0))  # as if an hour had passed
    ended = warm_cli.run(home.path, *ANSWER)
    assert ended.status == 0, ended.err
    disk.check()
    assert disk.temporaries() == []
    assert _results(home) == _results(uninterrupted)


@pytest.fixture
def uninterrupted(tmp_path: Path, warm_cli: WarmCli) -> settings.Home:
    """A home in which the run that comes after all killed ones was made alone."""
    other = settings.Home(tmp_path / "uninterrupted")
    assert warm_cli.run(other.path, *ANSWER).status == 0
    return other


@pytest.mark.timeout(900)
def test_killed_run_leaves_the_last_good_versions(
    warm_cli: WarmCli, home: settings.Home, uninterrupted: settings.Home
) -> None:
    """After each kill, beside a file's rename, every file is whole and everything on record is there."""
    _check_kills(warm_cli, home, _kill_points, uninterrupted)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_run_killed_at_every_event_leaves_the_last_good_versions(
    warm_cli: WarmCli, home: settings.Home, uninterrupted: settings.Home
) -> None:
    """Hundreds of runs are killed, one at each change of a file or connection to a database up to the last rename."""
    _check_kills(warm_cli, home, lambda events: range(_kill_points(events)[-1] + 1), uninterrupted)
