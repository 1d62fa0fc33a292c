import copy
import io
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from wine_assets.cli import summary
from wine_assets_tests.cli.command_line import ASSETS

USED = {
    "wall_seconds": 1.256,
    "cpu_seconds": 1.1,
    "peak_memory_mib": 99.5,
    "requested_memory": "500Mi",
    "requested_cpu": "1",
}
SAMPLE = [{"row": 101, "target": 1, "label": 0, "probability": 0.98604}]
METADATA: dict[str, dict[str, Any]] = {name: dict(USED) for name in ASSETS}
METADATA["raw_wine"] |= {
    "origin": "the file /tmp/[red]wine.csv",
    "dagster/row_count": 1178,
    "classes": {"0": 59, "1": 1119},
}
METADATA["binarized_wine"] |= {"classes": {"0": 59, "1": 1119}}
METADATA["wine_model"] |= {"hyperparameters": {"C": 0.01, "scaler": "none"}}
METADATA["model_evaluation"] |= {
    "metrics": {"accuracy": 0.98765, "log_loss": 0.0489},
    "reference_metrics": {"accuracy": 0.93258, "log_loss": 0.1509},
    "report": "/home/reports/1.html",
}
METADATA["wine_model_onnx"] |= {"parity_max_difference": 2.33e-06, "path": "/home/data/wine_model_onnx/1.onnx"}
METADATA["wine_predictions"] |= {"sample": SAMPLE}
SUCCEEDED = SimpleNamespace(success=True, error="", run_id="run-1")
FAILED = SimpleNamespace(success=False, error="C is 0.", run_id="run-2")


@pytest.fixture
def metadata() -> dict[str, dict[str, Any]]:
    return copy.deepcopy(METADATA)


def shown(values: dict[str, Any], **terminal: Any) -> str:
    output = io.StringIO()
    summary.show(values, Console(file=output, width=100, markup=False, highlight=False, **terminal))
    return output.getvalue()


def lines(text: str) -> list[str]:
    """Return the lines with single spaces between the words."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        "Data the file /tmp/[red]wine.csv",
        "Rows 1,178 in classes 0: 59, 1: 1,119",
        "Binarized 0: 59, 1: 1,119",
        "Hyperparameters C=0.01, scaler=none",
        "ONNX parity probabilities differ from scikit-learn's by at most 2.3e-06",
        "metric this model reference (C=0.01)",
        "accuracy 0.9877 0.9326",
        "log loss 0.0489 0.1509",
        "101 1 0 0.9860",
        "raw_wine 1.26 s 99.5 MiB 500Mi",
        "Model /home/data/wine_model_onnx/1.onnx",
        "Report /home/reports/1.html",
        "Next make dev",
    ],
)
def test_a_person_is_shown_everything_about_a_run(metadata: dict[str, dict[str, Any]], line: str) -> None:
    assert line in lines(shown(summary.result(metadata, [*ASSETS], SUCCEEDED)))


def test_plain_text_has_no_boxes_and_no_colours(metadata: dict[str, dict[str, Any]]) -> None:
    text = shown(summary.result(metadata, [*ASSETS], SUCCEEDED))
    assert "\x1b" not in text
    assert not re.search("[\u2500-\u257f]", text)


def test_a_terminal_gets_tables_with_lines(metadata: dict[str, dict[str, Any]]) -> None:
    assert "\u2500" in shown(summary.result(metadata, [*ASSETS], SUCCEEDED), force_terminal=True)


def test_a_run_that_was_not_needed_says_so_and_shows_what_there_is(metadata: dict[str, dict[str, Any]]) -> None:
    values = summary.result(metadata, [], None)
    assert (values["status"], values["run_id"], values["launched"]) == ("nothing to do", None, [])
    text = shown(values)
    assert summary.NOTHING_TO_DO in text
    assert "Next    make dev" in text


def test_a_machine_gets_plain_values(metadata: dict[str, dict[str, Any]]) -> None:
    values = summary.result(metadata, ["wine_model"], SUCCEEDED)
    assert json.loads(json.dumps(values)) == values
    assert (values["status"], values["run_id"], values["launched"]) == ("succeeded", "run-1", ["wine_model"])
    assert values["predictions"] == SAMPLE
    assert values["assets"]["raw_wine"] == USED


def test_a_failed_run_says_why_and_that_the_last_good_model_stays(
    metadata: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    values = summary.result(metadata, [*ASSETS], FAILED)
    assert values["status"] == "failed"
    assert shown(values) == ""
    assert capsys.readouterr().err.splitlines() == [
        "C is 0.",
        "The last good data and model stay as they were. See the run run-2 with: make dev.",
    ]


def test_a_failed_first_run_does_not_speak_of_a_model_that_was_never_there(capsys: pytest.CaptureFixture[str]) -> None:
    shown(summary.result({}, [*ASSETS], FAILED))
    assert "There is no model yet." in capsys.readouterr().err
