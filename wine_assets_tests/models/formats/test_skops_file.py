import json
import operator
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from wine_assets.errors import ArtifactError
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.formats import skops_file
from wine_assets.models.reference import REFERENCE
from wine_assets_tests.support.wine_frames import DEFAULT, fitted, wine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.skops"


def refused(path: Path) -> str:
    with pytest.raises(ArtifactError) as refusal:
        skops_file.load(path)
    return str(refusal.value)


@pytest.mark.process
def test_storing_imports_no_other_library(tmp_path: Path) -> None:
    """Where PyTorch, Dask or CuPy are installed, neither a run nor a search pays for their import."""
    program = """
import sys, numpy as np
from pathlib import Path
from sklearn.linear_model import LogisticRegression
from wine_assets.models.formats import skops_file
path = Path(sys.argv[1])
skops_file.save(LogisticRegression().fit(np.arange(20.0).reshape(10, 2), [0, 1] * 5), path)
assert skops_file.load(path).classes_.tolist() == [0, 1]
print({"cupy", "dask", "torch"} & {*sys.modules})
import sklearn.externals.array_api_compat.dask
"""
    command = [sys.executable, "-c", program, str(tmp_path / "model.skops")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("hyperparameters", [REFERENCE, DEFAULT], ids=["bare", "scaled"])
def test_an_estimator_comes_back_with_the_same_bits(
    hyperparameters: LogisticRegressionHyperparameters, path: Path
) -> None:
    before = fitted(hyperparameters)
    skops_file.save(before, path)
    after = skops_file.load(path)
    X = wine().iloc[:, :-1]
    assert type(after) is type(before)
    assert repr(after) == repr(before)
    assert after.predict_proba(X).tobytes() == before.predict_proba(X).tobytes()
    assert after.feature_names_in_.tolist() == before.feature_names_in_.tolist()


def test_a_saved_estimator_replaces_the_one_before_it_and_leaves_nothing_else(path: Path) -> None:
    skops_file.save(fitted(REFERENCE), path)
    skops_file.save(fitted(DEFAULT), path)
    assert skops_file.load(path)[-1].C == 1
    assert list(path.parent.iterdir()) == [path]


class Unsavable(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    def __getstate__(self) -> dict[str, Any]:
        raise OSError("the disk went away")


def test_an_estimator_that_cannot_be_saved_leaves_the_last_one(path: Path) -> None:
    skops_file.save(fitted(REFERENCE), path)
    with pytest.raises(OSError, match="the disk went away"):
        skops_file.save(Unsavable(), path)
    assert skops_file.load(path).C == 0.01
    assert list(path.parent.iterdir()) == [path]


def test_no_pickle_is_written(path: Path) -> None:
    """Every array inside loads with pickle refused."""
    skops_file.save(fitted(DEFAULT), path)
    with zipfile.ZipFile(path) as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".json", ".npy"}
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as array:
                    np.load(array, allow_pickle=False)


def test_a_missing_file_is_named_with_what_makes_it(path: Path) -> None:
    assert refused(path) == f"There is no estimator at {path}. Materialize wine_model."


def test_a_folder_is_no_estimator(path: Path) -> None:
    path.mkdir()
    assert refused(path).startswith(f"{path} can't be read as an estimator: ")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all", b"\x80\x04N."])
def test_what_is_no_archive_is_no_estimator(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert refused(path).endswith("Materialize wine_model again.")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_no_estimator(kept: float, path: Path) -> None:
    skops_file.save(fitted(REFERENCE), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert refused(path).startswith(f"{path} can't be read as an estimator: ")


def test_a_flipped_bit_in_the_weights_is_noticed(path: Path) -> None:
    """The archive has a checksum of each of its members."""
    skops_file.save(fitted(REFERENCE), path)
    content = bytearray(path.read_bytes())
    place = content.index(fitted(REFERENCE).coef_.tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refused(path)


def test_an_archive_without_a_schema_is_no_estimator(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.txt", "{}")
    assert refused(path).startswith(f"{path} can't be read as an estimator: ")


class TouchWhenUnpickled:
    """A pickle of this creates a file as soon as it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return the path of a file that exists as soon as something from a crafted file has run."""
    return tmp_path / "trace"


def test_the_crafted_pickle_would_run(trace: Path) -> None:
    """Otherwise the tests below would prove nothing."""
    pickle.loads(pickle.dumps(TouchWhenUnpickled(trace)))  # noqa: S301 - made in this line
    assert trace.exists()


def test_a_pickle_under_the_name_of_an_estimator_runs_nothing(path: Path, trace: Path) -> None:
    path.write_bytes(pickle.dumps(TouchWhenUnpickled(trace)))
    assert refused(path).startswith(f"{path} can't be read as an estimator: ")
    assert not trace.exists()


def test_a_pickle_in_place_of_an_array_runs_nothing(path: Path, trace: Path) -> None:
    crafted = np.array([TouchWhenUnpickled(trace)], dtype=object)
    skops_file.save(fitted(REFERENCE), path)
    with_replaced_arrays(path, crafted)
    assert refused(path).startswith(f"{path} can't be read as an estimator: ")
    assert not trace.exists()


def with_replaced_arrays(path: Path, array: Any) -> None:
    original = path.with_suffix(".original")
    shutil.move(path, original)
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if not name.endswith(".npy"):
                target.writestr(name, source.read(name))
                continue
            with target.open(name, "w") as member:
                np.save(member, array, allow_pickle=True)


class Foreign(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A type that a file may hold and this project didn't write; loading it would run `__setstate__`."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["path"]).touch()


def test_a_type_that_this_project_does_not_write_is_named_and_not_loaded(path: Path, trace: Path) -> None:
    skops.io.dump(Foreign(str(trace)), path)
    assert f"{path} holds types that this project doesn't write: {__name__}.Foreign. Don't load it" in refused(path)
    assert not trace.exists()
    skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    assert trace.exists(), "trusted, the same file does run something"


def test_a_foreign_type_deep_inside_a_familiar_one_is_found(path: Path, trace: Path) -> None:
    estimator = LogisticRegression(C=1.0)
    estimator.hidden_ = [{"deep": (Foreign(str(trace)),)}]
    skops.io.dump(estimator, path)
    assert "Foreign" in refused(path)
    assert not trace.exists()


def crafted_schema(trace: Path) -> dict[str, Any]:
    """Return what would make skops call os.system, if it trusted the file: operator.call(os.system, "touch ...")."""
    command = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": f'"touch {trace}"'}
    function = {"__class__": "system", "__module__": os.system.__module__, "__loader__": "FunctionNode"}
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode"}
    call = {"__class__": operator.call.__name__, "__module__": "operator", "__loader__": "OperatorFuncNode"}
    return call | {"attrs": arguments | {"content": [function, command]}}


@pytest.mark.process
def test_a_crafted_file_that_calls_a_shell_calls_nothing(path: Path, trace: Path) -> None:
    schema = crafted_schema(trace) | {"protocol": 2, "_skops_version": skops.__version__}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    assert "operator.call" in refused(path)
    assert not trace.exists()
    skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    assert trace.exists(), "trusted, the same file does call it"
