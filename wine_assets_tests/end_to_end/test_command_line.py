"""`wine-assets` as a process of its own: the first runs from nothing, the others forked with the libraries imported."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.inference import Predictor
from wine_assets_tests.support.command_line import (
    ASSETS,
    MODEL_ASSETS,
    QUICK,
    Ended,
    environment,
    is_sentence,
    ran,
    recorded,
    runs,
)
from wine_assets_tests.support.warm_cli import WarmCli, WarmProcess
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS

pytestmark = pytest.mark.xdist_group("warm_cli")

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\u2500-\u257f]")
HEAVY = {"sklearn", "pandas", "onnx", "skl2onnx", "onnxruntime", "matplotlib", "pyarrow", "pandera", "scipy"}
PROGRESS = re.compile(r"^\[(\d)/(\d)\] (\w+) +done +[\d.]+ s +[\d.]+ MiB of (\w+)$", re.MULTILINE)
LONG = ("--force", "--repeats", "100")
"""A run whose evaluation takes minutes, to be stopped in the middle."""
PATIENCE_S = 240


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A home in which the reference was made as the first run, and how that run ended; for tests that only look."""
    folder = tmp_path_factory.mktemp("reference") / "home"
    return folder, ran(folder, "run", "--reference")


@pytest.fixture
def made(reference: tuple[Path, Ended], home: Path) -> Path:
    """A home of the test's own, in which the reference was made."""
    shutil.copytree(reference[0], home)
    return home


def words(text: str) -> list[str]:
    """Return the lines with single spaces between the words."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


# --- the first run


def test_first_run_succeeds_with_nothing_but_a_command(reference: tuple[Path, Ended]) -> None:
    """It makes and records every asset, and prints nothing on the error output."""
    folder, ended = reference
    assert (ended.status, ended.err) == (0, "")
    assert set(recorded(folder)) == {*ASSETS}


def test_each_asset_has_its_progress_line(reference: tuple[Path, Ended]) -> None:
    """The lines come in order, each with the resources that the asset used and asked for."""
    lines = PROGRESS.findall(reference[1].out)
    assert [line[:3] for line in lines] == [(str(number), "7", name) for number, name in enumerate(ASSETS, start=1)]
    assert lines[0][3] == "500Mi"


@pytest.mark.parametrize(
    "pattern",
    [
        r"Data the wine data bundled with scikit-learn",
        r"Rows 178 in classes 0: 59, 1: 71, 2: 48",
        r"Binarized 0: 59, 1: 119",
        r"Hyperparameters C=0\.01, .*scaler=none.*",
        r"ONNX parity probabilities differ from scikit-learn's by at most \d\.\d*e-\d\d",
        r"metric this model reference \(C=0\.01\)",
        r"accuracy (0\.\d{4}) \1",
        r"log loss (0\.\d{4}) \1",
        r"roc auc (0\.\d{4}) \1",
        r"raw_wine [\d.]+ s [\d.]+ MiB 500Mi",
        r"model_evaluation [\d.]+ s [\d.]+ MiB 1Gi",
        r"Model /.*/home/models/wine, version 1",
        r"Report /.*/home/reports/[0-9a-f]{16}\.html",
        r"Next make dev \(look at it\), make serve \(predict with it\)",
    ],
)
def test_summary_tells_what_a_person_wants_to_know(reference: tuple[Path, Ended], pattern: str) -> None:
    """The summary holds the data, the hyperparameters, the metrics, the resources, and what to do next."""
    assert any(re.fullmatch(pattern, line) for line in words(reference[1].out))


def test_ten_reference_predictions_are_shown(reference: tuple[Path, Ended]) -> None:
    """The table of predictions has the sampled rows and their labels."""
    shown = [re.fullmatch(r"(\d+) ([01]) ([01]) ([01]\.\d{4})", line) for line in words(reference[1].out)]
    rows = [(int(row[1]), int(row[3])) for row in shown if row]
    assert rows == list(zip(SAMPLED_ROWS, SAMPLED_LABELS, strict=True))


def test_text_is_plain_without_a_terminal(reference: tuple[Path, Ended]) -> None:
    """A pipe gets no control characters and no frames."""
    assert not CONTROL.search(reference[1].out)


def test_run_is_on_record_where_the_ui_looks(reference: tuple[Path, Ended]) -> None:
    """Dagster has the run with its job, its status and its config."""
    (run,) = runs(reference[0])
    config: Any = run.run_config
    assert (run.job_name, run.status) == ("training_job", dg.DagsterRunStatus.SUCCESS)
    assert config["hyperparameters"]["logistic_regression"]["C"] == 0.01
    assert config["hyperparameters"]["logistic_regression"]["scaler"] == "none"


# --- the runs after it


def test_unchanged_run_imports_no_heavy_library(made: Path, tmp_path: Path) -> None:
    """A run of what is up to date launches nothing."""
    before = runs(made)
    modules = tmp_path / "modules"
    program = (
        "import atexit, pathlib, sys; from wine_assets.cli.entry import main;"
        f"atexit.register(lambda: pathlib.Path({str(modules)!r}).write_text(' '.join(sys.modules))); main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "run", "--reference"],
        env=environment(made), cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Nothing to do: every asset is up to date" in ended.stdout
    assert "Next    make dev" in ended.stdout
    assert not HEAVY & {*modules.read_text().split()}
    assert [run.run_id for run in runs(made)] == [run.run_id for run in before]


def test_json_goes_to_the_output_and_progress_beside_it(made: Path, warm_cli: WarmCli) -> None:
    """With --json the output is one object; the progress is on the error output."""
    ended = warm_cli.run(made, "run", "--json", *QUICK)
    result = json.loads(ended.out)
    assert ended.status == 0
    assert (result["status"], result["launched"]) == ("succeeded", [*MODEL_ASSETS])
    assert [line[2] for line in PROGRESS.findall(ended.err)] == [*MODEL_ASSETS]
    assert result["run_id"] == runs(made)[0].run_id


def test_step_over_its_memory_fails_the_run(made: Path, warm_cli: WarmCli) -> None:
    """The sentence names the asset and what it asked for, and the last good versions stay on record."""
    before = recorded(made)
    ended = warm_cli.run(made, "run", "--force", changes={"WINE_ASSETS_COMPUTE": '{"raw_wine": {"memory": "20Mi"}}'})
    assert ended.status == 1
    assert ended.err.startswith("raw_wine asked for 20Mi of memory and needed more")
    assert "Traceback" not in ended.err
    assert recorded(made) == before


@pytest.mark.parametrize("requests", ["banana", '{"raw_wine": {"memory": "banana"}}', '{"wine": {"memory": "1Gi"}}'])
def test_senseless_compute_requests_are_bad_usage(made: Path, warm_cli: WarmCli, requests: str) -> None:
    """They are refused also where nothing would be launched."""
    ended = warm_cli.run(made, "run", "--reference", changes={"WINE_ASSETS_COMPUTE": requests})
    assert (ended.status, ended.out) == (2, "")
    assert is_sentence(ended.err)


def test_two_runs_at_once_each_show_their_own_model(made: Path, warm_cli: WarmCli) -> None:
    """Each shows what it made itself, also where the other one has replaced it by then."""
    with contextlib.ExitStack() as stack:
        commands = [warm_cli.start(made, "run", "--json", "--force", "--C", C, *QUICK) for C in ("0.3", "0.7")]
        results = [json.loads(stack.enter_context(command).communicate()[0]) for command in commands]
    for result, C in zip(results, (0.3, 0.7), strict=True):
        assert result["hyperparameters"]["C"] == C
        assert {asset["run_id"] for asset in result["assets"].values()} == {result["run_id"]}
        assert json.loads(Predictor.load(result["model"]).metadata["hyperparameters"])["C"] == C


# --- stopped in the middle


def _wait_for_line(process: WarmProcess, text: str) -> None:
    assert any(text in line for line in iter(process.stdout.readline, ""))


def _processes_of(home: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if any(str(home) in part for part in command):
            found.append(command)
    return found


def to_its_processes(process: WarmProcess, number: signal.Signals) -> None:
    """Send a signal to all that a command started in its group, as a terminal does with Ctrl-C."""
    os.killpg(process.pid, number)


def to_it(process: WarmProcess, number: signal.Signals) -> None:
    process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "sent", "status"),
    [(signal.SIGINT, to_it, 130), (signal.SIGINT, to_its_processes, 130), (signal.SIGTERM, to_it, 143)],
)
def test_signal_stops_a_run_and_leaves_nothing_behind(
    made: Path, warm_cli: WarmCli, number: signal.Signals, sent: Callable[..., None], status: int
) -> None:
    """One sentence says so; no new version, no temporary file and no process stays."""
    before = recorded(made)
    with warm_cli.start(made, "run", "--reference", *LONG) as process:
        _wait_for_line(process, "wine_model ")
        sent(process, number)
        err = process.communicate()[1]
    assert process.returncode == status
    assert is_sentence(err)
    assert number.name in err
    assert runs(made)[0].status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    assert recorded(made) == before
    assert not [*made.rglob(f"{TEMPORARY_PREFIX}*")]
    assert not _processes_of(made)


def test_killed_run_is_soon_on_record_as_failed(made: Path, warm_cli: WarmCli) -> None:
    """Its watchdog says what happened, and what to do."""
    with warm_cli.start(made, "run", *LONG) as process:
        _wait_for_line(process, "wine_model ")
        process.kill()
        err = process.communicate()[1]
    assert runs(made)[0].status is dg.DagsterRunStatus.FAILURE
    assert is_sentence(err)
    assert "Start the run again." in err


# --- on a terminal


class Terminal:
    """A terminal of 24 lines that a command is started on, and what it shows after everything was printed."""

    def __init__(self, warm_cli: WarmCli, home: Path, *arguments: str) -> None:
        self._controller, end = pty.openpty()
        size = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
        self._status = warm_cli.fork(home, arguments, [end, end, end], changes=size)
        os.close(end)

    def read(self) -> str:
        """Return all that is printed until the command has ended."""
        chunks = []
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(self._controller, 65536):
                chunks.append(chunk)
        os.close(self._controller)
        with self._status as lines:
            assert [int(line) for line in lines][1] == 0
        return b"".join(chunks).decode()


def test_terminal_shows_the_asset_at_work_and_no_trace_of_it(made: Path, warm_cli: WarmCli) -> None:
    """A spinner turns while an asset is made; what is left in the end is a line an asset, and a cursor."""
    raw = Terminal(warm_cli, made, "run", *QUICK).read()
    assert re.search("(?:model_evaluation \\.\\.\\..*){2}", raw), "it turns"
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")
    left = _left_on_screen(raw)
    assert [line for line in left if "..." in line or "starting" in line] == []
    assert [line.split()[1] for line in left if re.match(r"\[\d/5\] \w+ +done", line)] == [*MODEL_ASSETS]


def _left_on_screen(raw: str) -> list[str]:
    """Return the lines that a terminal shows after it has followed all that was written to it."""
    screen, row, column = [""], 0, 0
    for code, count, final, text in re.findall(r"(\x1b\[\??(\d*)(?:;\d+)*([A-Za-z]))|([^\x1b])", raw):
        if text == "\r":
            column = 0
        elif text == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif text:
            screen[row] = screen[row][:column].ljust(column) + text + screen[row][column + 1 :]
            column += 1
        elif final == "A":
            row -= int(count or 1)
        elif final == "K":
            screen[row] = ""
        else:
            assert final in "mhl", f"{code!r} is not known here"
    return screen
