import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper

from wine_assets.errors import ArtifactError
from wine_assets.inference.predictor import Predictor
from wine_assets.ml.hyperparameters import REFERENCE
from wine_assets_tests.wines import SAMPLED_LABELS, SAMPLED_ROWS, exported, fitted, wine


@pytest.fixture
def content() -> bytes:
    return exported(REFERENCE)


@pytest.fixture
def rows() -> Any:
    return wine().drop(columns="target").to_numpy()


def test_a_model_answers_with_labels_and_probabilities(content: bytes, rows: Any) -> None:
    predictor = Predictor(content)
    labels, probabilities = predictor.predict(rows), predictor.predict_proba(rows)
    assert (labels.dtype, labels.shape) == (np.int64, (178,))
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (178, 2))
    assert labels[SAMPLED_ROWS].tolist() == SAMPLED_LABELS
    expected = fitted(REFERENCE).predict_proba(wine().drop(columns="target"))
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_a_model_knows_its_features_and_classes(content: bytes) -> None:
    predictor = Predictor(content)
    assert predictor.features == tuple(wine().columns[:-1])
    assert predictor.classes == (0, 1)
    assert predictor.metadata["family"] == "logistic_regression"


def wide_list(rows: Any) -> Any:
    return rows.tolist()


def in_columns(rows: Any) -> Any:
    return np.asfortranarray(rows)


def every_other(rows: Any) -> Any:
    return np.repeat(rows, 2, axis=0)[::2]


def single_precision(rows: Any) -> Any:
    return rows.astype(np.float32)


@pytest.mark.parametrize("form", [wide_list, in_columns, every_other, single_precision])
def test_rows_may_come_in_any_form_that_numpy_understands(
    form: Callable[[Any], Any], content: bytes, rows: Any
) -> None:
    predictor = Predictor(content)
    assert predictor.predict_proba(form(rows)).tobytes() == predictor.predict_proba(rows).tobytes()


def test_a_model_is_loaded_from_its_file(content: bytes, rows: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    loaded = Predictor.load(path, threads=2)
    path.unlink()
    assert loaded.predict(rows).tolist() == Predictor(content).predict(rows).tolist()
    path.write_bytes(content)
    assert Predictor.load(str(path)).classes == (0, 1)


def test_many_threads_may_ask_one_model(content: bytes, rows: Any) -> None:
    predictor = Predictor(content)
    expected = predictor.predict_proba(rows).tobytes()
    with ThreadPoolExecutor(8) as threads:
        answers = {answer.tobytes() for answer in threads.map(predictor.predict_proba, [rows] * 200)}
    assert answers == {expected}


# --- what is refused ---------------------------------------------------------


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"model\.onnx: No such file or directory\.$"):
        Predictor.load(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match=r"Is a directory\.$"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize("kept", [0, 0.3, 0.7, 0.999])
def test_a_truncated_model_is_refused(kept: float, content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"(?s)^onnxruntime can't load the model: .*Export it again\.$"):
        Predictor(content[: int(len(content) * kept)])


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"^onnxruntime can't load the model"):
        Predictor(b"<!doctype html>")


def with_metadata(content: bytes, **changed: str | None) -> bytes:
    model = onnx.load_from_string(content)
    given = {entry.key: entry.value for entry in model.metadata_props} | changed
    del model.metadata_props[:]
    helper.set_model_props(model, {name: value for name, value in given.items() if value is not None})
    changed_content: bytes = model.SerializeToString()
    return changed_content


@pytest.mark.parametrize("name", ["features", "classes"])
@pytest.mark.parametrize("value", [None, "", "alcohol, hue", "3", "null"])
def test_a_model_that_does_not_say_its_features_and_classes_is_refused(
    name: str, value: str | None, content: bytes
) -> None:
    with pytest.raises(
        ArtifactError, match=rf"^The model's metadata holds no list of `{name}`, so this project didn't"
    ):
        Predictor(with_metadata(content, **{name: value}))


def test_a_model_that_points_to_a_file_outside_it_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that lie in another file could be any file of the machine."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(content)
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "model.onnx")
    assert (tmp_path / "weights.bin").exists()
    assert onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer[0].data_location == (
        TensorProto.EXTERNAL
    )
    with pytest.raises(ArtifactError, match=r"^onnxruntime can't load the model"):
        Predictor.load(tmp_path / "model.onnx")


def test_a_service_imports_none_of_the_pipeline(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    program = (
        "import sys; from wine_assets.inference.predictor import Predictor;"
        "Predictor.load(sys.argv[1]).predict([[0] * 13]);"
        "heavy = {'dagster', 'matplotlib', 'onnx', 'pandas', 'pyarrow', 'pydantic', 'sklearn', 'skl2onnx', 'skops'};"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
