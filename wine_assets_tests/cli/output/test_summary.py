import copy
import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from wine_assets.cli.output import summary
from wine_assets.orchestration import runs
from wine_assets.orchestration.configs import FileSourceConfig
from wine_assets_tests.support.command_line import ASSETS, MODEL_ASSETS

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
    "origin": "the file /cellar/[red]wine.csv",
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
METADATA["released_model"] |= {"repository": "/home/models/wine", "version": 4}
INPUTS = {
    "raw_wine": [],
    "binarized_wine": ["raw_wine"],
    "wine_model": ["binarized_wine"],
    "model_evaluation": ["binarized_wine", "wine_model"],
    "wine_model_onnx": ["binarized_wine", "wine_model"],
    "wine_predictions": ["binarized_wine", "wine_model_onnx"],
    "released_model": ["binarized_wine", "wine_model", "wine_model_onnx", "model_evaluation"],
}
for name, inputs in INPUTS.items():
    METADATA[name] |= {
        "run_id": "run-1",
        "data_version": f"{name} 1",
        "inputs": {above: f"{above} 1" for above in inputs},
    }
SUCCEEDED = runs.Finished("run-1", success=True, error="", traceback="", made=ASSETS)
FAILED = runs.Finished("run-2", success=False, error="C is 0.", traceback="", failed=("raw_wine",))
SOURCE = FileSourceConfig(path="/cellar/[red]wine.csv")
EVERYTHING = summary.Plan([*ASSETS], [*ASSETS], SOURCE)
NOTHING = summary.Plan([], [], SOURCE)


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
        "Data the file /cellar/[red]wine.csv",
        "Rows 1,178 in classes 0: 59, 1: 1,119",
        "Binarized 0: 59, 1: 1,119",
        "Hyperparameters C=0.01, scaler=none",
        "ONNX parity probabilities differ from scikit-learn's by at most 2.3e-06",
        "metric this model reference (C=0.01)",
        "accuracy 0.9877 0.9326",
        "log loss 0.0489 0.1509",
        "101 1 0 0.9860",
        "raw_wine 1.26 s 99.5 MiB 500Mi",
        "Model /home/models/wine, version 4",
        "Report /home/reports/1.html",
        "Next make dev (look at it), make serve (predict with it)",
    ],
)
def test_a_person_is_shown_everything_about_a_run(metadata: dict[str, dict[str, Any]], line: str) -> None:
    assert line in lines(shown(summary.result(metadata, EVERYTHING, SUCCEEDED)))


def test_plain_text_has_no_boxes_and_no_colours(metadata: dict[str, dict[str, Any]]) -> None:
    text = shown(summary.result(metadata, EVERYTHING, SUCCEEDED))
    assert "\x1b" not in text
    assert not re.search("[\u2500-\u257f]", text)


def test_a_terminal_gets_tables_with_lines(metadata: dict[str, dict[str, Any]]) -> None:
    assert "\u2500" in shown(summary.result(metadata, EVERYTHING, SUCCEEDED), force_terminal=True)


def test_a_run_that_was_not_needed_says_so_and_shows_what_there_is(metadata: dict[str, dict[str, Any]]) -> None:
    values = summary.result(metadata, NOTHING, None)
    assert (values["status"], values["run_id"], values["launched"]) == ("nothing to do", None, [])
    text = shown(values)
    assert summary.NOTHING_TO_DO in text
    assert "Next    make dev (look at it)" in text


def test_a_machine_gets_plain_values(metadata: dict[str, dict[str, Any]]) -> None:
    values = summary.result(metadata, summary.Plan(["wine_model"], ["wine_model"], SOURCE), SUCCEEDED)
    assert json.loads(json.dumps(values)) == values
    assert (values["status"], values["run_id"], values["launched"]) == ("succeeded", "run-1", ["wine_model"])
    assert values["predictions"] == SAMPLE
    assert values["assets"]["raw_wine"] == {**USED, "run_id": "run-1", "up_to_date": True}


def test_a_failed_run_says_why_and_that_the_last_good_model_stays(
    metadata: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    values = summary.result(metadata, EVERYTHING, FAILED)
    assert values["status"] == "failed"
    assert shown(values) == ""
    assert capsys.readouterr().err.splitlines() == [
        "C is 0.",
        "The last good data and model stay as they were. See the run run-2 with: make dev.",
    ]


def test_a_failed_first_run_does_not_speak_of_a_model_that_was_never_there(capsys: pytest.CaptureFixture[str]) -> None:
    shown(summary.result({}, EVERYTHING, FAILED))
    assert "There is no model yet." in capsys.readouterr().err


@pytest.fixture
def half(metadata: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What there is after a run that made another model, and failed to evaluate it and to predict with it."""
    metadata["wine_model"] |= {"hyperparameters": {"C": 0.5}, "run_id": "run-2", "data_version": "wine_model 2"}
    metadata["wine_model_onnx"] |= {"run_id": "run-2", "data_version": "wine_model_onnx 2"}
    metadata["wine_model_onnx"]["inputs"] = {"binarized_wine": "binarized_wine 1", "wine_model": "wine_model 2"}
    return metadata


MODEL_PLAN = summary.Plan([*MODEL_ASSETS], [*MODEL_ASSETS], SOURCE)
HALF = runs.Finished(
    "run-2", False, "Too few rows.", "", made=("wine_model", "wine_model_onnx"), failed=("model_evaluation",)
)


def test_a_run_that_failed_half_way_names_what_it_replaced_and_what_it_left(
    half: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    shown(summary.result(half, MODEL_PLAN, HALF))
    standing = capsys.readouterr().err.splitlines()[1]
    assert standing.startswith(
        "Made in this run: wine_model, wine_model_onnx. "
        "As they were: raw_wine, binarized_wine, model_evaluation, released_model, wine_predictions. "
        "See the run run-2"
    )


def test_a_machine_gets_the_parts_of_one_model_alone(half: dict[str, dict[str, Any]]) -> None:
    values = summary.result(half, MODEL_PLAN, HALF)
    assert values["hyperparameters"] == {"C": 0.5}
    assert values["evaluation"] == {"metrics": None, "reference": None}
    assert (values["predictions"], values["report"]) == (None, None)
    assert values["parity_max_difference"] == 2.33e-06
    assert (values["made"], values["failed"]) == (["wine_model", "wine_model_onnx"], ["model_evaluation"])


def test_a_machine_is_told_of_each_asset_whose_it_is_and_whether_it_is_up_to_date(
    half: dict[str, dict[str, Any]],
) -> None:
    told = summary.result(half, MODEL_PLAN, HALF)["assets"]
    assert {name: (asset["run_id"], asset["up_to_date"]) for name, asset in told.items()} == {
        "raw_wine": ("run-1", True),
        "binarized_wine": ("run-1", True),
        "wine_model": ("run-2", True),
        "model_evaluation": ("run-1", False),
        "wine_model_onnx": ("run-2", True),
        "wine_predictions": ("run-1", False),
        "released_model": ("run-1", False),
    }


def test_the_earlier_figures_of_the_same_model_stay_in_view(metadata: dict[str, dict[str, Any]]) -> None:
    """As when only an evaluation with more folds failed."""
    plan = summary.Plan(["model_evaluation"], ["model_evaluation"], SOURCE)
    failed = runs.Finished("run-2", False, "Too few rows.", "", failed=("model_evaluation",))
    values = summary.result(metadata, plan, failed)
    assert values["evaluation"]["metrics"] == METADATA["model_evaluation"]["metrics"]
    assert not values["assets"]["model_evaluation"]["up_to_date"]


def test_a_file_with_the_content_that_is_known_already_is_shown_beside_the_one_that_was_read(
    metadata: dict[str, dict[str, Any]],
) -> None:
    plan = summary.Plan([], [], FileSourceConfig(path="/cellar/copy.csv"))
    text = lines(shown(summary.result(metadata, plan, None)))
    assert "Data the file /cellar/copy.csv, with the same content as the file /cellar/[red]wine.csv" in text
