import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets import inference
from wine_assets.inference import ModelRepository, WineAssetsError
from wine_assets_tests.support.wine_frames import wine

HEAVY = ["pandas", "pyarrow", "sklearn", "scipy", "onnx", "dagster", "pydantic", "matplotlib", "sqlalchemy", "typer"]


def test_the_public_names_are_there_and_no_others_are_promised() -> None:
    assert sorted(inference.__all__) == inference.__all__
    assert {name for name in inference.__all__ if not hasattr(inference, name)} == set()
    with pytest.raises(AttributeError, match=r"^module 'wine_assets\.inference' has no attribute 'AsyncPredicter'$"):
        _ = inference.AsyncPredicter


@pytest.mark.parametrize("name", inference.__all__)
def test_every_public_name_says_what_it_is_for(name: str) -> None:
    documented = getattr(inference, name)
    methods = [part for word, part in inspect.getmembers(documented, inspect.isroutine) if not word.startswith("_")]
    own = [method for method in methods if getattr(method, "__module__", "").startswith("wine_assets.")]
    assert [part for part in (documented, *own) if not inspect.getdoc(part)] == []


def test_every_error_that_callers_may_meet_has_one_base() -> None:
    errors = [getattr(inference, name) for name in inference.__all__ if name.endswith("Error")]
    assert len(errors) == 5
    assert all(issubclass(error, WineAssetsError) for error in errors)


@pytest.mark.process
@pytest.mark.parametrize("module", ["wine_assets.inference", "wine_assets.inference.__main__"])
def test_a_service_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*({{*{HEAVY}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


SERVICE = """
import asyncio, json, sys
from wine_assets.inference import AsyncPredictor, Batching, InputError, ModelRepository, Predictor

repository = ModelRepository(sys.argv[1])
rows = json.loads(sys.argv[2])
predictor = Predictor.load(sys.argv[1], extra="ignore")
repository.verify(repository.versions()[-1])
columns = {name: [row[name] for row in rows] for name in rows[0]}
for form in (rows, columns, [[*row.values()] for row in rows]):
    predictor.predict_both(form)
predictor.predict_one(**rows[0])
asyncio.run(AsyncPredictor(predictor, Batching()).predict(columns))
try:
    predictor.predict({"alcohol": [None]})
except InputError:
    print(*({*sys.argv[3:]} & sys.modules.keys()))
"""


@pytest.mark.process
def test_a_service_uses_nothing_heavy_in_whatever_it_does(released: ModelRepository) -> None:
    rows = json.dumps(wine().drop(columns="target").head(3).to_dict("records"))
    command = [sys.executable, "-c", SERVICE, str(released.folder), rows, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "\n"


def test_callers_are_told_the_types() -> None:
    assert inference.__file__ is not None
    assert (Path(inference.__file__).parents[1] / "py.typed").exists()
