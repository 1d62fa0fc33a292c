"""`wine-assets` as a user starts it: a process of its own, from nothing, in a home of its own."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from wine_assets.files import TEMPORARY_PREFIX
from wine_assets_tests.support.command_line import (
    ASSETS,
    MODEL_ASSETS,
    PROGRAM,
    QUICK,
    Ended,
    environment,
    is_sentence,
    ran,
    recorded,
    runs,
    started,
)
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS

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


def test_the_first_run_succeeds_with_nothing_but_a_command(reference: tuple[Path, Ended]) -> None:
    folder, ended = reference
    assert (ended.status, ended.err) == (0, "")
    assert set(recorded(folder)) == {*ASSETS}


def test_each_asset_has_its_line_in_order_with_what_it_used_and_asked_for(reference: tuple[Path, Ended]) -> None:
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
def test_the_text_tells_what_a_person_wants_to_know(reference: tuple[Path, Ended], pattern: str) -> None:
    assert any(re.fullmatch(pattern, line) for line in words(reference[1].out))


def test_the_ten_reference_predictions_are_shown(reference: tuple[Path, Ended]) -> None:
    shown = [re.fullmatch(r"(\d+) ([01]) ([01]) ([01]\.\d{4})", line) for line in words(reference[1].out)]
    rows = [(int(row[1]), int(row[3])) for row in shown if row]
    assert rows == list(zip(SAMPLED_ROWS, SAMPLED_LABELS, strict=True))


def test_where_there_is_no_terminal_the_text_is_plain(reference: tuple[Path, Ended]) -> None:
    assert not CONTROL.search(reference[1].out)


def test_the_run_is_on_record_where_the_ui_looks_for_it(reference: tuple[Path, Ended]) -> None:
    (run,) = runs(reference[0])
    config: Any = run.run_config
    assert (run.job_name, run.status) == ("training_job", dg.DagsterRunStatus.SUCCESS)
    assert config["hyperparameters"]["logistic_regression"]["C"] == 0.01
    assert config["hyperparameters"]["logistic_regression"]["scaler"] == "none"


# --- the runs after it


def test_an_unchanged_run_launches_nothing_and_imports_no_heavy_library(made: Path, tmp_path: Path) -> None:
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


def test_a_machine_gets_one_object_on_the_output_and_progress_beside_it(made: Path) -> None:
    ended = ran(made, "run", "--json", *QUICK)
    result = json.loads(ended.out)
    assert ended.status == 0
    assert (result["status"], result["launched"]) == ("succeeded", [*MODEL_ASSETS])
    assert [line[2] for line in PROGRESS.findall(ended.err)] == [*MODEL_ASSETS]
    assert result["run_id"] == runs(made)[0].run_id


def test_a_step_that_needs_more_memory_than_it_asked_for_fails_the_run(made: Path) -> None:
    before = recorded(made)
    ended = ran(made, "run", "--force", changes={"WINE_ASSETS_COMPUTE": '{"raw_wine": {"memory": "20Mi"}}'})
    assert ended.status == 1
    assert ended.err.startswith("raw_wine asked for 20Mi of memory and needed more")
    assert "Traceback" not in ended.err
    assert recorded(made) == before


@pytest.mark.parametrize("requests", ["banana", '{"raw_wine": {"memory": "banana"}}', '{"wine": {"memory": "1Gi"}}'])
def test_compute_requests_that_make_no_sense_are_bad_usage(made: Path, requests: str) -> None:
    """Also where nothing would be launched."""
    ended = ran(made, "run", "--reference", changes={"WINE_ASSETS_COMPUTE": requests})
    assert (ended.status, ended.out) == (2, "")
    assert is_sentence(ended.err)


# --- stopped in the middle


def _wait_for_line(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout is not None
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


def to_its_processes(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Send a signal to all that a command started in its group, as a terminal does with Ctrl-C."""
    os.killpg(process.pid, number)


def to_it(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "sent", "status"),
    [(signal.SIGINT, to_it, 130), (signal.SIGINT, to_its_processes, 130), (signal.SIGTERM, to_it, 143)],
)
def test_a_signal_stops_a_run_with_one_sentence_and_leaves_nothing_behind(
    made: Path, number: signal.Signals, sent: Callable[..., None], status: int
) -> None:
    before = recorded(made)
    with started(made, "run", "--reference", *LONG) as process:
        _wait_for_line(process, "wine_model ")
        sent(process, number)
        err = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == status
    assert is_sentence(err)
    assert number.name in err
    assert runs(made)[0].status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    assert recorded(made) == before
    assert not [*made.rglob(f"{TEMPORARY_PREFIX}*")]
    assert not _processes_of(made)


def test_a_run_whose_process_is_killed_is_soon_on_record_as_failed(made: Path) -> None:
    with started(made, "run", *LONG) as process:
        _wait_for_line(process, "wine_model ")
        process.kill()
        err = process.communicate(timeout=PATIENCE_S)[1]
    assert runs(made)[0].status is dg.DagsterRunStatus.FAILURE
    assert is_sentence(err)
    assert "Start the run again." in err


# --- on a terminal


class Terminal:
    """A terminal of 24 lines that a command is started on, and what it shows after everything was printed."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._controller, end = pty.openpty()
        variables = {**environment(home), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
        self.process = subprocess.Popen(
            [PROGRAM, *arguments], env=variables, cwd=home.parent, stdin=end, stdout=end, stderr=end
        )
        os.close(end)

    def read(self) -> str:
        """Return all that is printed until the command has ended."""
        chunks = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if select.select([self._controller], [], [], 0.1)[0]:
                try:
                    chunks.append(os.read(self._controller, 65536))
                except OSError:  # the other end is closed
                    break
        os.close(self._controller)
        assert self.process.wait(PATIENCE_S) == 0
        return b"".join(chunks).decode()


def test_on_a_terminal_the_asset_at_work_is_shown_and_leaves_no_trace(made: Path) -> None:
    """A spinner turns while an asset is made; what is left in the end is a line an asset, and a cursor."""
    raw = Terminal(made, "run", *QUICK).read()
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
