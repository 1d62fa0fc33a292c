"""The wheel as a service installs it: into an environment in which there is nothing else."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from wine_assets_tests.support.published_models import publishable
from wine_assets_tests.support.wine_frames import wine

ROOT = Path(__file__).parents[2]
MOST_PACKAGES = 8
CALLER = """\
import numpy as np

from wine_assets.inference import AsyncPredictor, Batching, ModelRepository, Prediction, Predictor


def label(path: str) -> int:
    prediction: Prediction = Predictor.load(path, threads=1, extra="ignore").predict_one(alcohol=13.0)
    return prediction.label


async def probabilities(predictor: Predictor, rows: "np.ndarray[tuple[int, int], np.dtype[np.float32]]") -> float:
    gathered = await AsyncPredictor(predictor, Batching(max_rows=10)).predict_proba(rows)
    return float(gathered[0, 1])


def champion(folder: str) -> int | None:
    promotion = ModelRepository(folder).champion()
    return None if promotion is None else promotion.version
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=200, env=_without_python_settings())
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment into which the wheel was installed."""
    environment = tmp_path_factory.mktemp("service") / "venv"
    python = environment / "bin" / "python"
    _uv("venv", "--quiet", "--python", sys.executable, str(environment))
    constraints = str(ROOT / "constraints.txt")
    _uv("pip", "install", "--quiet", "--python", str(python), "--constraints", constraints, str(wheel))
    return python


def _uv(*arguments: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([uv, *arguments], check=True, capture_output=True, text=True, timeout=200)
    return done.stdout


def _without_python_settings() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"PATH": path}


def test_a_service_installs_a_handful_of_packages(python: Path) -> None:
    names = [package["name"] for package in json.loads(_uv("pip", "list", "--format", "json", "--python", str(python)))]
    assert {"wine-assets", "numpy", "onnxruntime", "msgspec"} <= {*names}
    assert len(names) <= MOST_PACKAGES, names


def test_the_installed_library_predicts(python: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(publishable(1.0).model)
    row = json.dumps(wine().drop(columns="target").to_dict("records")[0])
    done = subprocess.run(
        [python, "-m", "wine_assets.inference", model],
        input=row,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["label"] == 0


@pytest.mark.parametrize(
    ("command", "extra"), [(["run"], "pipeline"), (["serve"], "serve"), (["models", "list"], "serve"), ([], "pipeline")]
)
def test_the_command_line_names_the_extra_that_it_needs(python: Path, command: list[str], extra: str) -> None:
    program = python.with_name("wine-assets")
    done = subprocess.run([program, *command], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"The command line needs the extra `{extra}`, which is not installed. "
        f"Install it with: pip install 'wine-assets[{extra}]'\n"
    )


def test_a_caller_is_checked_strictly_against_the_installed_types(python: Path, tmp_path: Path) -> None:
    caller = tmp_path / "caller.py"
    caller.write_text(CALLER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), str(caller)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout


def test_the_wheel_has_the_pages_of_the_server_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "wine_assets/py.typed" in names
    assert [name for name in names if name.startswith("wine_assets_tests")] == []
