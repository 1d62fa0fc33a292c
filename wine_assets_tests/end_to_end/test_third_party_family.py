"""A family of somebody else's: a package of its own, in a wheel, in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from wine_assets.inference import Predictor
from wine_assets.models.parity import TOLERANCE
from wine_assets_tests.support.command_line import QUICK, environment
from wine_assets_tests.support.serving.server_process import run_server
from wine_assets_tests.support.wine_frames import wine

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "naive-bayes-family"
version = "1.0"
dependencies = ["wine-assets"]

[project.entry-points."wine_assets.families"]
naive_bayes = "naive_bayes_family:FAMILY"

[tool.hatch.build.targets.wheel]
only-include = ["naive_bayes_family.py"]
"""
MODULE = '''\
"""Gaussian naive Bayes as a family of wine_assets."""

from typing import Literal

from pydantic import Field

from wine_assets.models.base import Hyperparameters
from wine_assets.models.formats import skops_file
from wine_assets.models.onnx import export


class NaiveBayesHyperparameters(Hyperparameters):
    """What scikit-learn's GaussianNB is fitted with."""

    family: Literal["naive_bayes"] = Field(default="naive_bayes", description="a normal distribution for each class")
    smoothing: float = Field(default=1e-3, gt=0, le=1, description="share of the largest variance that is added to all")


class NaiveBayesFamily:
    """scikit-learn's GaussianNB."""

    name = "naive_bayes"
    description = "Gaussian naive Bayes."
    version = "1"
    flexibility = 1
    hyperparameters = NaiveBayesHyperparameters
    batch_invariant = False
    weights = "estimator.skops"
    default_space = {"smoothing": {"kind": "float", "log": True, "low": 1e-6, "high": 1e-2}}

    def fit(self, X, y, hyperparameters):
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB(var_smoothing=hyperparameters.smoothing).fit(X, y)

    def complexity(self, hyperparameters):
        return 1 / hyperparameters.smoothing

    def save(self, estimator, path):
        skops_file.save(estimator, path)

    def load(self, path):
        return skops_file.load(path)

    def export(self, estimator, hyperparameters, data):
        return export.convert(estimator, data, export.model_metadata(self, hyperparameters, data))


FAMILY = NaiveBayesFamily()
'''
CommandLine = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel, which sees the packages of this one."""
    project = tmp_path_factory.mktemp("third_party")
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "naive_bayes_family.py").write_text(MODULE)
    _run(sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", "dist", cwd=project)
    (wheel,) = (project / "dist").glob("*.whl")
    uv = Path(sys.executable).with_name("uv")
    _run(uv, "venv", "--quiet", "--python", sys.executable, "venv", cwd=project)
    python = project / "venv" / "bin" / "python"
    packages = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=project).strip())
    (packages / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    _run(uv, "pip", "install", "--quiet", "--no-deps", "--python", python, wheel, cwd=project)
    return python


@pytest.fixture(scope="module")
def command_line(python: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """`wine-assets` in that environment, with one home for all its runs, as a function that returns the JSON."""
    home = tmp_path_factory.mktemp("third_party_home") / "home"

    def call(*arguments: str) -> dict[str, Any]:
        program = (python, "-c", "from wine_assets.cli.entry import main; main()")
        answer: dict[str, Any] = json.loads(_run(*program, *arguments, "--json", env=environment(home)))
        return answer

    return call


@pytest.fixture(scope="module")
def release(command_line: CommandLine) -> dict[str, Any]:
    """What a run with the family said."""
    return command_line("run", "--family", "naive_bayes", "--smoothing", "0.0001", *QUICK)


def _run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] = os.environ) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    given = {name: value for name, value in env.items() if not name.startswith("PYTHON")} | {"PATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=cwd, env=given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_run_releases_a_verified_model(release: dict[str, Any]) -> None:
    """The family is fitted with the given hyperparameters, exported with parity, and released."""
    assert release["status"] == "succeeded"
    assert release["hyperparameters"] == {"family": "naive_bayes", "smoothing": 0.0001}
    assert release["parity_max_difference"] <= TOLERANCE
    assert release["released"]["version"] == 1


def test_search_tries_its_default_space(command_line: CommandLine) -> None:
    """A search with no space draws from that of the family, and finds hyperparameters of the family."""
    search = command_line("search", "--family", "naive_bayes", "--trials", "3", "--folds", "2")
    assert (search["status"], search["finished"]) == ("succeeded", 3)
    assert search["best"]["family"] == "naive_bayes"
    assert 1e-6 <= search["best"]["searched"]["smoothing"] <= 1e-2


def test_server_predicts_with_the_release(release: dict[str, Any], tmp_path: Path) -> None:
    """A server without the family's package answers over HTTP as the exported model does."""
    row = {str(name): value for name, value in wine().drop(columns="target").iloc[0].items()}
    with run_server(Path(release["released"]["repository"]), tmp_path / "log") as server:
        server.wait_for_version(1)
        reply = server.post("/predict", row)
    expected = Predictor.load(release["model"]).predict_one(**row)
    assert reply.status == 200
    assert (reply.json["label"], reply.json["model_version"]) == (expected.label, "1")
