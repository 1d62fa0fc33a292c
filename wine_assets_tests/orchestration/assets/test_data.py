import socket
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from wine_assets.data.checks import CHECKS
from wine_assets.orchestration import enforcement
from wine_assets_tests.support.fresh_definitions import fresh_definitions
from wine_assets_tests.support.pipeline import Pipeline, checks, failures, started

Reference = tuple[Pipeline, dg.ExecuteInProcessResult]
BLOCKING = {spec.name for spec in CHECKS if spec.blocking}


@pytest.fixture
def wine() -> pd.DataFrame:
    frame: pd.DataFrame = load_wine(as_frame=True).frame
    return frame


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "wine.csv"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions with retries that don't wait."""
    monkeypatch.setattr(enforcement, "_RETRY_DELAY_S", 0)
    return fresh_definitions(monkeypatch)


def test_raw_rows_are_scikit_learns_wine_data(reference: Reference, wine: pd.DataFrame) -> None:
    pipeline, result = reference
    pd.testing.assert_frame_equal(result.output_for_node("raw_wine"), wine)
    pd.testing.assert_frame_equal(pd.read_parquet(pipeline.file("raw_wine")), wine)


def test_raw_rows_say_where_they_came_from_and_how_many_of_each_class_there_are(reference: Reference) -> None:
    metadata = reference[0].metadata("raw_wine")
    assert metadata["origin"].value == "the wine data bundled with scikit-learn"
    assert metadata["classes"].value == {"0": 59, "1": 71, "2": 48}


def test_binarized_rows_have_59_zeros_and_119_ones(reference: Reference) -> None:
    pipeline, result = reference
    assert pipeline.metadata("binarized_wine")["classes"].value == {"0": 59, "1": 119}
    assert result.output_for_node("binarized_wine")["target"].dtype == "int64"


def test_negative_classes_may_be_given_as_numbers_or_as_text(pipeline: Pipeline) -> None:
    for negative in ([0, 1], ["0", "1"]):
        assert pipeline.read(negative_classes=negative).success
        assert pipeline.metadata("binarized_wine")["classes"].value == {"0": 130, "1": 48}


def test_every_check_is_made_of_the_bundled_data_and_the_blocking_ones_pass(reference: Reference) -> None:
    evaluations = checks(reference[1])
    assert {name for name in evaluations if name != "parity"} == {spec.name for spec in CHECKS}
    assert all(evaluations[name].passed for name in BLOCKING)


def _with_nan(wine: pd.DataFrame, file: Path) -> None:
    wine.assign(ash=wine["ash"].where(wine.index != 3)).to_csv(file, index=False)


def _with_text(wine: pd.DataFrame, file: Path) -> None:
    wine.astype({"ash": "object"}).assign(ash=["n/k", *wine["ash"][1:]]).to_csv(file, index=False)


def _with_one_class(wine: pd.DataFrame, file: Path) -> None:
    wine[wine["target"] == 0].rename(columns={"hue": "tone"}).to_csv(file, index=False)


def _with_infinity(wine: pd.DataFrame, file: Path) -> None:
    wine.assign(ash=wine["ash"].where(wine.index != 5, float("inf"))).to_parquet(file.with_suffix(".parquet"))


BAD = [
    pytest.param(_with_nan, "finite", "`ash` has 1 missing (NaN) value (first rows, counted from 0: 3)", id="missing"),
    pytest.param(_with_infinity, "finite", "`ash` has 1 infinite value (first rows", id="infinite"),
    pytest.param(_with_text, "types", "`ash` must hold numbers, and 1 row has none, such as 'n/k'", id="text"),
    pytest.param(_with_one_class, "classes", "`target` has one class only, '0'", id="one class"),
]


@pytest.mark.parametrize(("write", "check", "sentence"), BAD)
def test_bad_rows_fail_a_blocking_check_and_leave_all_that_was_there_untouched(
    untouched: Pipeline,
    wine: pd.DataFrame,
    file: Path,
    write: Callable[[pd.DataFrame, Path], None],
    check: str,
    sentence: str,
) -> None:
    write(wine, file)
    source = next(file.parent.glob("wine.*"))
    result = untouched.train(source={"file": {"path": str(source)}})
    evaluation = checks(result)[check]
    assert not result.success
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert sentence in str(evaluation.description)
    assert sentence in failures(result)[0]
    assert started(result) == ["raw_wine"]
    assert _recorded(untouched, check) == ("FAILED", evaluation.description)


def _recorded(pipeline: Pipeline, check: str) -> tuple[str, str | None]:
    """Return the status and the sentence of the newest execution of a check of raw_wine."""
    key = dg.AssetCheckKey(dg.AssetKey("raw_wine"), check)
    record = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.status.value, record.event.dagster_event.asset_check_evaluation_data.description


def test_impossible_values_and_repeated_rows_warn_and_let_the_work_go_on(
    pipeline: Pipeline, wine: pd.DataFrame, file: Path
) -> None:
    odd = wine.assign(alcohol=wine["alcohol"].where(wine.index != 2, 1370.0))
    pd.concat([odd, odd.tail(1)]).to_csv(file, index=False)
    result = pipeline.read(file)
    evaluations = checks(result)
    assert result.success
    assert pipeline.metadata("binarized_wine")["dagster/row_count"].value == 179
    for name, sentence in {"ranges": "`alcohol` has 1 value outside", "duplicates": "equals an earlier one"}.items():
        assert not evaluations[name].passed
        assert evaluations[name].severity is dg.AssetCheckSeverity.WARN
        assert sentence in str(evaluations[name].description)


def test_a_source_that_cannot_be_read_fails_the_check_readable_at_once(untouched: Pipeline, file: Path) -> None:
    result = untouched.read(file)
    evaluation = checks(result)["readable"]
    assert not evaluation.passed
    assert str(file) in str(evaluation.description)
    assert str(file) in failures(result)[0]
    assert [event.event_type_value for event in result.all_events].count("STEP_RESTARTED") == 0


def test_a_source_that_cannot_be_reached_is_tried_again(untouched: Pipeline, at_once: dg.Definitions) -> None:
    untouched.definitions = at_once
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = untouched.launch("data_job", {"source": {"file": {"path": f"http://127.0.0.1:{port}/wine.csv"}}})
    assert not result.success
    assert [event.event_type_value for event in result.all_events].count("STEP_RESTARTED") == 1


def test_a_limit_that_stops_the_reading_says_nothing_of_the_source(
    untouched: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINE_ASSETS_COMPUTE", '{"raw_wine": {"timeout": "0.0001s", "retries": 0}}')
    untouched.definitions = fresh_definitions(monkeypatch)
    result = untouched.read()
    assert "raw_wine was stopped after 0.0001 s" in failures(result)[0]
    assert checks(result) == {}


def test_bad_rows_are_not_read_again_because_they_would_be_as_bad(
    untouched: Pipeline, at_once: dg.Definitions, wine: pd.DataFrame, file: Path
) -> None:
    _with_nan(wine, file)
    untouched.definitions = at_once
    result = untouched.read(file)
    assert not result.success
    assert "STEP_UP_FOR_RETRY" not in {event.event_type_value for event in result.all_events}


def test_a_negative_class_that_no_row_has_fails_binarized_wine_alone(pipeline: Pipeline) -> None:
    pipeline.read()
    made = pipeline.made()
    result = pipeline.train(negative_classes=["barolo"])
    assert "`negative_classes` names 'barolo', which no row has" in failures(result)[0]
    assert started(result) == ["raw_wine", "binarized_wine"]
    assert pipeline.made()["binarized_wine"] == made["binarized_wine"]
    assert [*pipeline.made()] == ["raw_wine", "binarized_wine"]


def test_a_table_that_is_not_wine_travels_to_the_model_with_its_own_features(pipeline: Pipeline, file: Path) -> None:
    rows = [{"width": float(i), "height": i * i, "species": "lark" if i < 10 else "kite"} for i in range(20)]
    pd.DataFrame(rows).to_csv(file, index=False)
    source = {"file": {"path": str(file), "class_column": "species"}}
    result = pipeline.train(source=source, negative_classes=["kite"])
    assert result.success, failures(result)
    assert result.output_for_node("wine_model").estimator.feature_names_in_.tolist() == ["width", "height"]
    assert '["width","height"]' in pipeline.metadata("wine_model_onnx")["metadata"].value.replace(" ", "")
