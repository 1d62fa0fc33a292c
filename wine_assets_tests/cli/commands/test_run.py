"""The commands, called in this process; end_to_end/test_command_line.py starts them as a user does."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sklearn.datasets import load_wine

from wine_assets.data.wine_columns import FEATURES
from wine_assets.evaluation.cross_validation import EvaluationParams
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.prediction import PredictionsParams
from wine_assets.models.registry import families
from wine_assets_tests.support.command_line import (
    ASSETS,
    MODEL_ASSETS,
    QUICK,
    Ended,
    called,
    is_sentence,
    recorded,
    runs,
)

MODELS = [family.hyperparameters for family in families().values()]


@pytest.fixture
def wine(tmp_path: Path) -> Path:
    path = tmp_path / "wine.csv"
    load_wine(as_frame=True).frame.to_csv(path, index=False)
    return path


@pytest.fixture
def closed_port() -> int:
    """A port on this machine at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def launched(*arguments: str) -> list[str]:
    """Run, and return the assets that were launched."""
    ended = called("run", "--json", *QUICK, *arguments)
    assert ended.status == 0
    result = json.loads(ended.out)
    assert result["status"] == ("succeeded" if result["launched"] else "nothing to do")
    return list(result["launched"])


# --- what is launched


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("arguments", "stale"),
    [
        ([], []),
        (["--folds", "3", "--predictions-rows", "3"], ["model_evaluation", "released_model", "wine_predictions"]),
        (["--predictions-rows", "3"], ["wine_predictions"]),
        (["--C", "0.5"], [*MODEL_ASSETS]),
        (["--reference"], [*MODEL_ASSETS]),
        (["--family", "gradient_boosting"], [*MODEL_ASSETS]),
        (["--negative-class", "2"], [*ASSETS[1:]]),
        (["--force"], [*ASSETS]),
    ],
)
def test_what_an_option_changes_is_launched_and_nothing_else(arguments: list[str], stale: list[str]) -> None:
    assert launched(*arguments) == stale
    if "--force" not in arguments:
        assert launched(*arguments) == []


def test_going_back_to_earlier_hyperparameters_makes_the_earlier_model_again(made: Path) -> None:
    before = recorded(made)
    assert launched("--C", "0.5") == [*MODEL_ASSETS]
    assert recorded(made)["wine_model"] != before["wine_model"]
    assert launched() == [*MODEL_ASSETS]
    assert recorded(made) == before


def test_an_asset_whose_file_is_gone_is_made_again(made: Path) -> None:
    for path in (made / "data" / "wine_predictions").iterdir():
        path.unlink()
    assert launched() == ["wine_predictions"]


@pytest.mark.usefixtures("made")
def test_a_file_that_changed_is_read_again(wine: Path) -> None:
    assert launched("--source", str(wine)) == [*ASSETS]
    assert launched("--source", str(wine)) == []
    wine.write_text(wine.read_text().replace("14.23", "14.24", 1))
    assert launched("--source", str(wine)) == [*ASSETS]


def test_nothing_to_do_starts_no_run(made: Path) -> None:
    before = len(runs(made))
    ended = called("run", *QUICK)
    assert (ended.status, ended.err) == (0, "")
    assert "Nothing to do" in ended.out
    assert "/7]" not in ended.out
    assert len(runs(made)) == before


def test_a_run_is_on_record_with_its_config(made: Path) -> None:
    launched("--C", "0.25", "--folds", "4", "--negative-class", "1")
    run = runs(made)[0]
    assert (run.job_name, run.status) == ("training_job", dg.DagsterRunStatus.SUCCESS)
    config: Any = run.run_config
    assert config["hyperparameters"]["logistic_regression"]["C"] == 0.25
    assert config["evaluation"]["folds"] == 4
    assert config["negative_classes"] == ["1"]
    assert config["source"] == {"bundled": {}}


# --- bad usage


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--C=-1"], r"C must be greater than 0, got -1\.0 .* Change --C\."),
        (["--C", "nan"], r"C must be a finite number, got nan"),
        (["--folds", "1"], r"folds must be greater than or equal to 2, got 1 .* Change --folds\."),
        (["--predictions-rows", "0"], r"rows must be .* Change --predictions-rows\."),
        (["--l1-ratio", "0.5"], r"can't fit an elastic net .* Change --solver to saga, or --l1-ratio to 0\."),
        (
            ["--learning-rate=0.1"],
            r"^--learning-rate is of the family gradient_boosting, .* Set --family to gradient_b",
        ),
        (["--family=gradient_boosting", "--C=1"], r"^--C is of the family logistic_regression, and the family is gr"),
        (["--family", "forest"], r"'forest' is not one of 'logistic_regression', 'gradient_boosting'"),
        (["--family=gradient_boosting", "--max-depth=-1"], r"max_depth must be .* got -1 .* Change --max-depth\."),
        (["--reference", "--family", "gradient_boosting"], r"--reference sets every hyperparameter, and family was"),
        (["--reference", "--C", "1"], r"--reference sets every hyperparameter, and C was given"),
        (["--database", "sqlite://"], r"need --query"),
        (["--query", "SELECT 1", "--source", "a.csv"], r"--source and --query both"),
        (["--query", "SELECT 1"], r"--query needs exactly one of --database and --database-variable"),
        (["--query", "SELECT 1", "--database", "postgresql://me:hush@host/db"], r"must not hold a password"),
        (["--source", "https://me:hush@host/wine.csv"], r"must not hold credentials"),
        (["--source", "https://host/wine.csv?token=hush"], r"must not hold credentials"),
        (["--class-column", "kind"], r"add --source or --query"),
    ],
)
def test_bad_usage_is_refused_before_anything_is_written(home: Path, arguments: list[str], sentence: str) -> None:
    ended = called("run", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert is_sentence(ended.err)
    assert re.search(sentence, ended.err)
    assert "hush" not in ended.err
    assert not home.exists()


def test_a_database_variable_that_is_not_set_is_named(home: Path) -> None:
    ended = called("run", "--query", "SELECT 1", "--database-variable", "NO_SUCH_DATABASE")
    assert ended.status == 2
    assert is_sentence(ended.err)
    assert "NO_SUCH_DATABASE" in ended.err


@pytest.mark.usefixtures("home")
def test_a_traceback_is_shown_with_debug_alone() -> None:
    plain, debug = called("run", "--C=-1"), called("run", "--C=-1", "--debug")
    assert plain.status == debug.status == 2
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.err.endswith(plain.err)


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WINE_ASSETS_HOME", str(tmp_path / "file" / "home"))
    ended = called("run")
    assert ended.status == 2
    assert is_sentence(ended.err)
    assert "Set WINE_ASSETS_HOME" in ended.err


# --- failed runs


def failed(ended: Ended) -> list[str]:
    """Return what a failed run says on the error output: why, and what stays."""
    assert ended.status == 1
    assert "Traceback" not in ended.out + ended.err
    why, kept = ended.err.splitlines()
    assert why.endswith(".")
    assert kept.endswith("with: make dev.")
    return [why, kept]


@pytest.mark.usefixtures("made", "without_retries")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--source", "/nowhere/wine.csv"], r"There is no file /nowhere/wine\.csv .* check --source\."),
        (
            ["--negative-class", "7"],
            r"--negative-class names '7', which no row has\. The classes are .* change --negative-class\.",
        ),
        (
            ["--query", "SELECT 1", "--database", "sqlite:///nowhere/wine.db"],
            r"There is no SQLite database .* check --database\.",
        ),
    ],
)
def test_a_failed_run_says_why_in_a_sentence_and_what_stays(arguments: list[str], reason: str) -> None:
    ended = called("run", *arguments)
    why, kept = failed(ended)
    assert re.match(reason, why)
    assert kept.startswith("The last good data and model stay as they were. See the run ")
    assert "FAILED" in ended.out


@pytest.mark.usefixtures("made")
def test_what_is_warned_of_is_shown_to_people_and_machines() -> None:
    ended = called("run", "--json", "--max-iter", "1", *QUICK)
    assert (ended.status, [*json.loads(ended.out)["warnings"]]) == (0, ["wine_model"])
    told = called("run", "--max-iter", "1", *QUICK).out
    assert re.search(r"^Warning wine_model: lbfgs failed to converge .*[^:]\.$", told, re.MULTILINE)


@pytest.mark.usefixtures("made")
def test_repeated_rows_are_warned_of(wine: Path) -> None:
    wine.write_text(wine.read_text() + wine.read_text().splitlines()[-1])
    warnings = json.loads(called("run", "--json", "--source", str(wine), *QUICK).out)["warnings"]
    assert "1 row equals an earlier one" in warnings["raw_wine"]


def test_a_machine_is_told_of_a_refusal_too() -> None:
    ended = called("run", "--json", "--C=-1")
    refused = json.loads(ended.out)
    assert (ended.status, refused["status"]) == (2, "refused")
    assert "C must be greater than 0" in refused["error"]


def test_a_run_that_failed_half_way_speaks_of_one_model_and_of_options(made: Path) -> None:
    before = recorded(made)
    ended = called("run", "--json", "--C", "0.5", "--folds", "100")
    result = json.loads(ended.out)
    replaced = {name for name, version in recorded(made).items() if version != before[name]}
    assert set(result["made"]) == replaced == {"wine_model", "wine_model_onnx", "wine_predictions"}
    assert (ended.status, result["failed"]) == (1, ["model_evaluation"])
    assert "Set --folds to at most 59" in result["error"]
    assert (result["hyperparameters"]["C"], result["evaluation"]["metrics"]) == (0.5, None)
    assert len(result["predictions"]) > 0
    assert {name for name, asset in result["assets"].items() if asset["run_id"] == result["run_id"]} == replaced
    again = called("run", "--C", "0.5", "--folds", "100")
    assert failed(again)[1].startswith("The last good data and model stay as they were.")


@pytest.mark.usefixtures("made", "without_retries")
def test_an_address_that_nobody_answers_fails_the_run(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}/wine.csv"
    assert failed(called("run", "--source", url))[0].startswith(f"{url} can't be downloaded")


@pytest.mark.usefixtures("home", "without_retries")
def test_a_failed_first_run_leaves_no_model_and_says_so() -> None:
    assert failed(called("run", "--source", "/nowhere/wine.csv"))[1].startswith("There is no model yet.")


@pytest.mark.usefixtures("made", "without_retries")
def test_a_machine_is_told_of_a_failure_in_the_same_object() -> None:
    ended = called("run", "--json", "--source", "/nowhere/wine.csv")
    result = json.loads(ended.out)
    assert ended.status == 1
    assert (result["status"], result["launched"]) == ("failed", [*ASSETS])
    assert result["error"].startswith("There is no file /nowhere/wine.csv")
    assert result["error"].endswith(".")
    assert "FAILED" in ended.err


@pytest.mark.usefixtures("made", "without_retries")
def test_a_failed_run_shows_its_traceback_with_debug_alone() -> None:
    plain, debug = (called("run", "--source", "/nowhere/wine.csv", *debug) for debug in ([], ["--debug"]))
    assert "table_file.py" not in plain.err
    assert "table_file.py" in debug.err


@pytest.mark.usefixtures("made")
def test_a_step_over_its_timeout_fails_the_run(compute: Callable[[str], None]) -> None:
    compute('{"model_evaluation": {"timeout": "1s"}}')
    why = failed(called("run", "--repeats", "100"))[0]
    assert "model_evaluation was stopped after 1 s" in why


@pytest.mark.usefixtures("made")
def test_a_secret_of_the_environment_is_printed_nowhere(
    monkeypatch: pytest.MonkeyPatch, closed_port: int, compute: Callable[[str], None]
) -> None:
    compute('{"raw_wine": {"retries": 0}}')
    monkeypatch.setenv("CELLAR", f"postgresql+psycopg://me:hush@127.0.0.1:{closed_port}/cellar")
    ended = called("run", "--query", "SELECT 1", "--database-variable", "CELLAR", "--debug")
    assert ended.status == 1
    assert "hush" not in ended.out + ended.err


# --- what is printed for machines and readers


@pytest.mark.usefixtures("made")
def test_a_machine_reads_one_object_and_people_the_progress() -> None:
    ended = called("run", "--json", "--force", *QUICK)
    result: dict[str, Any] = json.loads(ended.out)
    assert [line[:5] for line in ended.err.splitlines()] == [f"[{number}/7]" for number in range(1, 8)]
    assert result["launched"] == [*ASSETS]
    assert result["data"] == {
        "origin": "the wine data bundled with scikit-learn",
        "same_content_as": None,
        "rows": 178,
        "classes": {"0": 59, "1": 71, "2": 48},
        "features": [*FEATURES],
        "indexes_left_out": [],
        "binarized_classes": {"0": 59, "1": 119},
    }
    assert result["hyperparameters"] == LogisticRegressionHyperparameters().model_dump()
    assert Path(result["model"]).is_file()
    assert Path(result["report"]).is_file()


def test_the_schema_is_that_of_the_hyperparameters() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(called("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for taken in (LogisticRegressionHyperparameters(), GradientBoostingHyperparameters()):
        assert validator.is_valid(taken.model_dump())
    assert validator.is_valid({})
    assert validator.is_valid({"max_iter": 5})
    assert validator.is_valid({"family": "gradient_boosting", "learning_rate": 0.05})
    assert not validator.is_valid({"learning_rate": 0.05})
    assert not validator.is_valid({"family": "gradient_boosting", "C": 1})
    assert not validator.is_valid({"C": -1})
    assert not validator.is_valid({"Cc": 1})


def test_home_makes_the_dagster_home_once_and_prints_where_it_is(home: Path) -> None:
    assert called("home").out == f"{home}/dagster\n"
    settings = home / "dagster" / "dagster.yaml"
    settings.write_text("# the user's own\n")
    assert called("home").status == 0
    assert settings.read_text() == "# the user's own\n"


@pytest.mark.parametrize("model", [*MODELS, EvaluationParams, PredictionsParams])
def test_the_help_describes_every_field_with_its_default(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    text = re.sub(r"\s+", " ", called("run", "--help").out)
    prefix = "predictions-" if model is PredictionsParams else ""
    for name, field in model.model_fields.items():
        assert f"--{prefix}{name.replace('_', '-')}" in text
        default = "" if name == "family" else f" [default: {field.default}]"
        assert f"{field.description}{default}" in text
