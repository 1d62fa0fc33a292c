import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, external_data_helper, helper

from wine_assets.errors import ArtifactError, InputError, RepositoryError
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.published_models import Publishable
from wine_assets_tests.support.wine_frames import SAMPLED_LABELS, SAMPLED_ROWS, exported, fitted, wine


@pytest.fixture
def content() -> bytes:
    return exported(REFERENCE)


@pytest.fixture
def rows() -> Any:
    return wine().drop(columns="target").to_numpy()


def test_a_model_answers_with_labels_and_probabilities(content: bytes, rows: Any) -> None:
    predictor = Predictor(content)
    labels, probabilities = predictor.predict(rows), predictor.predict_proba(rows)
    assert (str(labels.dtype), labels.shape) == ("int64", (178,))
    assert (str(probabilities.dtype), probabilities.shape) == ("float32", (178, 2))
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


# --- what is refused ---------------------------------------------------------


def test_missing_file_and_missing_champion(tmp_path: Path) -> None:
    """The error names a missing file, and a folder without a champion."""
    with pytest.raises(ArtifactError, match=r"model\.onnx: No such file or directory\.$"):
        Predictor.load(tmp_path / "model.onnx")
    with pytest.raises(RepositoryError, match=r"has no champion\. Publish and promote a version"):
        Predictor.load(tmp_path)


def test_a_lone_model_is_verified_by_a_checksum_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert not Predictor.load(path).verified
    assert Predictor.load(path, expected_sha256=digest.upper()).verified
    with pytest.raises(ArtifactError, match=f"has the SHA-256 {digest}, not 0000"):
        Predictor.load(path, expected_sha256="0" * 64)
    with pytest.raises(RepositoryError, match="is no folder with versions"):
        Predictor.load(path, version=1)


def test_repository_reads_champion_or_version(released: ModelRepository, second: Publishable) -> None:
    """A repository returns its champion, or the requested version."""
    second.publish(released)
    champion, unpromoted = Predictor.load(released.folder), Predictor.load(released.folder, version=2)
    assert (champion.version, champion.verified) == (1, True)
    assert (unpromoted.version, unpromoted.verified) == (2, False)
    assert champion.manifest is not None
    assert champion.sha256 == champion.manifest.content.model_sha256
    with pytest.raises(ArtifactError, match="has the SHA-256"):
        Predictor.load(released.folder, expected_sha256="0" * 64)


@pytest.mark.parametrize("kept", [0, 0.3, 0.7, 0.999])
def test_a_truncated_model_is_refused(kept: float, content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"(?s)^onnxruntime can't load the model: .*Export it again\.$"):
        Predictor(content[: int(len(content) * kept)])


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"^onnxruntime can't load the model"):
        Predictor(b"<!doctype html>")


# --- one row -----------------------------------------------------------------


@pytest.fixture
def named(rows: Any) -> list[dict[str, float]]:
    return [dict(zip(wine().columns[:-1], map(float, row), strict=True)) for row in rows.astype(np.float32)]


def test_a_row_has_the_same_bits_alone_by_name_and_in_any_batch(
    content: bytes, rows: Any, named: list[dict[str, float]]
) -> None:
    predictor, rows = Predictor(content), rows.astype(np.float32)
    labels, probabilities = predictor.predict_both(rows)
    for at, values in enumerate(named):
        alone = predictor.predict_both(rows[at : at + 1])
        assert (alone[0][0], alone[1].tobytes()) == (labels[at], probabilities[at].tobytes())
        answer = predictor.predict_one(**dict(reversed(values.items())))
        assert (answer.label, answer.probabilities) == (labels[at], tuple(probabilities[at].tolist()))


@pytest.mark.parametrize("threads", [1, 2])
def test_large_batch_has_the_bits_of_small_ones(content: bytes, rows: Any, threads: int) -> None:
    """A row gets the same bits in a large batch with any number of threads."""
    one, many = Predictor(content), Predictor(content, threads=threads)
    large = np.tile(rows, (20, 1))
    assert many.threads == threads
    assert many.predict_proba(large).tobytes() == np.tile(one.predict_proba(rows), (20, 1)).tobytes()
    assert many.predict(large).tobytes() == np.tile(one.predict(rows), 20).tobytes()


def test_answers_stay_as_they_were_when_others_are_asked_for(content: bytes, rows: Any) -> None:
    """The buffers of a thread are its own, and what it hands out is not."""
    predictor, rows = Predictor(content), rows.astype(np.float32)
    first = predictor.predict_proba(rows[:1])
    kept = first.copy()
    predictor.predict_proba(rows[100:101])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hue": float("nan")}, r"^`hue` must be a finite number of at most 3\.4e\+38, got nan\.$"),
        ({"hue": float("inf")}, "`hue` must be a finite number"),
        ({"hue": 1e39}, r"`hue` must be a finite number of at most 3\.4e\+38, got 1e\+39\."),
        ({"hue": 10**400}, "`hue` must be a finite number"),
        ({"hue": True}, "`hue` must be a number, got True"),
        ({"hue": "1.0"}, r"`hue` must be a number, got '1\.0'"),
        ({"hue": None}, "`hue` must be a number, got None"),
        ({"tone": 1.0}, r"`tone` is not known\. The features are alcohol,"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    content: bytes, named: list[dict[str, float]], changes: dict[str, Any], sentence: str
) -> None:
    predictor = Predictor(content)
    with pytest.raises(InputError, match=sentence):
        predictor.predict_one(**(named[0] | changes))
    assert predictor.predict_one(**named[0]).label == 0, "it answers on as before"


def test_a_value_that_is_missing_is_named(content: bytes, named: list[dict[str, float]]) -> None:
    predictor = Predictor(content)
    with pytest.raises(InputError, match=r"`alcohol` is missing\."):
        predictor.predict_one(**{name: value for name, value in named[0].items() if name != "alcohol"})
    with pytest.raises(InputError, match=r"`alcohol`, `malic_acid`, .* and 8 more are missing\."):
        predictor.predict_one()


def test_numpy_numbers_and_ignored_values(content: bytes, named: list[dict[str, float]]) -> None:
    """NumPy scalars are accepted, and extra values are ignored on request."""
    expected = Predictor(content).predict_one(**named[0])
    predictor = Predictor(content, extra="ignore")
    given: dict[str, Any] = {name: np.float32(value) for name, value in named[0].items()} | {"colour": "red"}
    assert predictor.predict_one(**given) == expected


@pytest.mark.parametrize(("extras", "extra"), [("ignore", "ignore"), ("refuse", "forbid")])
def test_extras_is_a_deprecated_name(content: bytes, tmp_path: Path, extras: str, extra: str) -> None:
    """`extras` still works, in each way to make a predictor, and says what it is called now."""
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.warns(DeprecationWarning, match="`extras` is now `extra`"):
        assert Predictor(content, extras=extras).extra == extra
    with pytest.warns(DeprecationWarning, match="`extras` is now `extra`"):
        assert Predictor.load(tmp_path / "model.onnx", extras=extras).extra == extra


def test_a_row_of_an_array_is_checked_too(content: bytes, rows: Any) -> None:
    row = rows[:1].astype(np.float32)
    row[0, 3] = np.inf
    with pytest.raises(InputError, match=r"`alcalinity_of_ash` is infinite in row 0\."):
        Predictor(content).predict_proba(row)


def test_asking_again_and_again_takes_no_memory(content: bytes, named: list[dict[str, float]], rows: Any) -> None:
    """Neither one by one, nor in batches, nor for what is refused."""
    predictor, row, batch = Predictor(content), rows[:1].astype(np.float32), rows[:20].astype(np.float32)

    def ask(times: int) -> int:
        tracemalloc.start()
        try:
            for _ in range(times):
                predictor.predict_proba(row)
                predictor.predict_one(**named[0])
                predictor.predict_both(batch)
                with contextlib.suppress(InputError):
                    predictor.predict_one(**{**named[0], "hue": cast(Any, None)})
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    ask(10)
    assert abs(ask(10_000) - ask(50)) < 50_000, "not even five bytes a call"


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, (5, 13), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_any_row_has_the_same_bits_in_any_call(rows: Any) -> None:
    """A row gets the same bits alone, by name, in a batch, and with two threads."""
    labels, probabilities = one_thread().predict_both(rows)
    for at, row in enumerate(rows):
        answer = one_thread().predict_one(**dict(zip(one_thread().features, row.tolist(), strict=True)))
        alone = one_thread().predict_proba(rows[at : at + 1])
        assert alone.tobytes() == probabilities[at].tobytes()
        assert (answer.label, answer.probabilities) == (labels[at], tuple(probabilities[at].tolist()))
    assert two_threads().predict_proba(rows).tobytes() == probabilities.tobytes()


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(13)), start=st.integers(0, 177))
def test_the_order_of_columns_changes_no_bit_of_an_answer(order: list[int], start: int) -> None:
    frame = wine().drop(columns="target").iloc[start:]
    expected = one_thread().predict_proba(frame.to_numpy())
    assert one_thread().predict_proba(frame.iloc[:, order]).tobytes() == expected.tobytes()


@functools.cache
def one_thread() -> Predictor:
    return Predictor(exported(REFERENCE))


@functools.cache
def two_threads() -> Predictor:
    return Predictor(exported(REFERENCE), threads=2)


def test_a_feature_may_have_any_name_that_json_has(content: bytes, named: list[dict[str, float]]) -> None:
    predictor = Predictor(content)
    with pytest.raises(InputError, match=r"`self` is not known"):
        predictor.predict_one(**(named[0] | {"self": 1.0}))
    renamed = Predictor(with_metadata(content, features=json.dumps(["self", *predictor.features[1:]])))
    values = {"self" if name == "alcohol" else name: value for name, value in named[0].items()}
    assert renamed.predict_one(**values) == predictor.predict_one(**named[0])


def test_no_rows_have_no_answers(content: bytes) -> None:
    labels, probabilities = Predictor(content).predict_both(np.empty((0, 13)))
    assert (labels.shape, probabilities.shape) == ((0,), (0, 2))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threads": 0}, r"^`threads` must be a whole number of at least 1, got 0\.$"),
        ({"threads": "2"}, r"^`threads` must be a whole number of at least 1, got '2'\.$"),
        ({"threads": -1}, r"^`threads` must be a whole number of at least 1, got -1\.$"),
        ({"extra": "drop"}, r"^`extra` must be \"forbid\" or \"ignore\", got 'drop'\.$"),
    ],
)
def test_options_that_make_no_sense_are_refused(content: bytes, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Predictor(content, **options)


@pytest.mark.process
def test_no_telemetry_of_onnxruntime() -> None:
    """The library lets onnxruntime send no telemetry and start no thread for it."""
    program = (
        "import os, wine_assets.inference; "
        "print(os.environ['ORT_DISABLE_TELEMETRY'], len(os.listdir('/proc/self/task')))"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1", "1"]


def with_metadata(content: bytes, **changed: str | None) -> bytes:
    model = onnx.load_from_string(content)
    given = {entry.key: entry.value for entry in model.metadata_props} | changed
    del model.metadata_props[:]
    helper.set_model_props(model, {name: value for name, value in given.items() if value is not None})
    changed_content: bytes = model.SerializeToString()
    return changed_content


@pytest.mark.parametrize("name", ["features", "classes"])
@pytest.mark.parametrize("value", [None, "", "alcohol, hue", "3", "null"])
def test_model_without_metadata_is_rejected(name: str, value: str | None, content: bytes) -> None:
    """A model whose metadata lacks features or classes is rejected."""
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


@pytest.mark.process
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
