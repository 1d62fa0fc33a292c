import ast
import contextlib
import os
import pickletools
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import wine_assets
from wine_assets.errors import ArtifactError
from wine_assets.files import TEMPORARY_PREFIX
from wine_assets.orchestration import instance, retention, runs
from wine_assets.orchestration.io_managers import FORMATS
from wine_assets.orchestration.report_files import write_report
from wine_assets.settings import Home
from wine_assets_tests.support.pipeline import ASSETS, QUICK, Pipeline, failures

FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "read_pickle", "to_pickle", "allow_pickle"}
SUFFIXES = {
    "raw_wine": ".parquet",
    "binarized_wine": ".parquet",
    "wine_model": ".zip",
    "model_evaluation": ".json",
    "wine_model_onnx": ".onnx",
    "wine_predictions": ".parquet",
    "released_model": ".json",
}
READERS = {
    "binarized_wine": "wine_model",
    "wine_model": "model_evaluation",
    "wine_model_onnx": "wine_predictions",
}


@pytest.fixture
def modelled(pipeline: Pipeline) -> Pipeline:
    """A pipeline that has made a model."""
    pipeline.read()
    assert pipeline.materialize("wine_model").success
    return pipeline


@pytest.fixture
def settled(definitions: dg.Definitions, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A pipeline on the project's own instance that has made a model, where no file is too young to be removed."""
    monkeypatch.setattr(retention, "SPARED_S", 0.0)
    with instance.quiet_instance(home) as own:
        pipeline = Pipeline(own, definitions)
        pipeline.read()
        assert pipeline.materialize("wine_model").success
        yield pipeline


def _versions(pipeline: Pipeline, asset: str) -> set[str]:
    return {path.stem for path in pipeline.file(asset).parent.iterdir()}


@pytest.mark.parametrize("asset", ASSETS)
def test_each_asset_lies_in_a_folder_of_its_own_in_a_format_without_code(
    reference: tuple[Pipeline, dg.ExecuteInProcessResult], asset: str
) -> None:
    file = reference[0].file(asset)
    assert (file.parent.name, file.suffix) == (asset, SUFFIXES[asset])


def test_another_version_is_another_file_and_the_first_stays_as_it_is(modelled: Pipeline) -> None:
    first = modelled.file("wine_model")
    content, changed = first.read_bytes(), first.stat().st_mtime_ns
    modelled.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": 0.5}}})
    assert modelled.file("wine_model") != first
    assert (first.read_bytes(), first.stat().st_mtime_ns) == (content, changed)


def test_a_version_that_is_there_already_is_written_again_without_harm(modelled: Pipeline) -> None:
    before = {asset: modelled.file(asset) for asset in ASSETS[:3]}
    modelled.read()
    assert modelled.materialize("wine_model").success
    assert {asset: modelled.file(asset) for asset in before} == before
    assert all(len(_versions(modelled, asset)) == 1 for asset in before)
    assert "LogisticRegression" in repr(FORMATS["estimator"].read(before["wine_model"]).estimator)


def _refit(pipeline: Pipeline) -> list[str]:
    """Fit four other models, and return their versions."""
    made = []
    for C in (0.1, 0.2, 0.3, 0.4):
        pipeline.materialize("wine_model", wine_model={"hyperparameters": {"logistic_regression": {"C": C}}})
        made.append(pipeline.version("wine_model"))
    return made


def test_the_newest_versions_stay_and_older_ones_go(settled: Pipeline) -> None:
    assert _versions(settled, "wine_model") == {settled.version("wine_model")}
    made = _refit(settled)
    assert _versions(settled, "wine_model") == {*made[-retention.KEPT_VERSIONS :]}


def test_a_young_version_stays_because_a_run_may_be_about_to_read_it(
    settled: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SPARED_S", 3600.0)
    made = _refit(settled)
    assert _versions(settled, "wine_model") >= {*made}


def test_an_instance_that_is_not_the_projects_removes_nothing(
    modelled: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SPARED_S", 0.0)
    made = _refit(modelled)
    assert _versions(modelled, "wine_model") >= {*made}


def test_the_recorded_version_stays_however_old_it_is(modelled: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SPARED_S", 0.0)
    recorded = modelled.file("wine_model")
    folder = recorded.parent
    os.utime(recorded, (1, 1))
    for number in range(5):
        (folder / f"unrecorded{number}.zip").touch()
    retention.prune(folder, ".zip", retention.KEPT_VERSIONS, {recorded.stem})
    assert recorded.exists()
    assert len([*folder.iterdir()]) == retention.KEPT_VERSIONS + 1


def test_a_file_that_another_run_removes_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    for number in range(retention.KEPT_VERSIONS):
        (tmp_path / f"{number}.json").touch()
    retention.prune(tmp_path, ".json", retention.KEPT_VERSIONS, set())
    assert {path.stem for path in tmp_path.iterdir()} == {"0", "1", "2"}


def test_what_a_killed_writer_left_is_swept_once_it_is_old(settled: Pipeline) -> None:
    folder = settled.file("wine_model").parent
    old, new = (folder / f"{TEMPORARY_PREFIX}{name}.zip" for name in ("old", "new"))
    old.touch()
    new.touch()
    hours_ago = time.time() - 2 * retention.ORPHAN_AGE_S
    os.utime(old, (hours_ago, hours_ago))
    settled.materialize("wine_model")
    assert not old.exists()
    assert new.exists()


@contextlib.contextmanager
def _damaged(file: Path, content: bytes | None) -> Iterator[None]:
    """Replace the content of a file, or take the file away, for the length of a block."""
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    yield
    file.write_bytes(whole)


@pytest.mark.parametrize("asset", READERS)
def test_a_damaged_file_fails_its_reader_with_a_sentence_that_names_file_and_remedy(
    untouched: Pipeline, asset: str
) -> None:
    file = untouched.file(asset)
    for content in (b"", b"junk", file.read_bytes()[: file.stat().st_size // 2]):
        with _damaged(file, content):
            result = untouched.materialize(READERS[asset])
        assert not result.success
        assert f"{file} can't be read" in failures(result)[0]
        assert f"aterialize {asset} again." in failures(result)[0]


@pytest.mark.parametrize("asset", READERS)
def test_a_missing_file_fails_its_reader_with_a_sentence(untouched: Pipeline, asset: str) -> None:
    file = untouched.file(asset)
    with _damaged(file, None):
        result = untouched.materialize(READERS[asset])
    assert re.search(f"There is no .*{file.with_suffix('')}", failures(result)[0])
    assert f"aterialize {asset}" in failures(result)[0]


def test_an_asset_can_be_loaded_outside_of_any_run(untouched: Pipeline) -> None:
    """As in a notebook: the newest version there is."""
    repository = untouched.definitions.get_repository_def()
    model: Any = repository.load_asset_value(dg.AssetKey("wine_model"), instance=untouched.instance)
    assert type(model.estimator).__name__ == "Pipeline"
    assert model.hyperparameters.C == 1


def test_report_loaded_outside_of_a_run(untouched: Pipeline) -> None:
    """A report is read as it was written; one that is damaged or gone is an error that names file and remedy."""

    def load() -> Any:
        repository = untouched.definitions.get_repository_def()
        return repository.load_asset_value(dg.AssetKey("model_evaluation"), instance=untouched.instance)

    assert load()["metrics"]["accuracy"] > 0.9
    file = untouched.file("model_evaluation")
    with _damaged(file, b'{"metrics": '), pytest.raises(ArtifactError, match=f"{file} can't be read: .*Materialize"):
        load()
    with _damaged(file, None), pytest.raises(ArtifactError, match=f"There is no {file}. Materialize model_evaluation"):
        load()


def test_the_newest_reports_stay_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "KEPT_REPORTS", 2)
    monkeypatch.setattr(retention, "SPARED_S", 0.0)
    first, *others = [write_report(f"page {number}") for number in range(3)]
    assert not first.exists()
    assert [path.read_text() for path in others] == ["page 1", "page 2"]


def _forbidden(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield from (called for _ in range(called in FORBIDDEN_CALLS))
            yield from (str(k.arg) for k in node.keywords if k.arg in {"shell", "allow_pickle"} and _is_true(k.value))


def _is_true(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)


def test_no_code_of_the_project_unpickles_or_evaluates_anything() -> None:
    modules = [*Path(wine_assets.__file__).parent.rglob("*.py")]
    found = {str(path): [*_forbidden(ast.parse(path.read_text()))] for path in modules}
    assert len(modules) > 40
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import dill.source",
        "eval('1')",
        "subprocess.run('ls', shell=True)",
        "numpy.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
    ],
)
def test_the_search_for_unsafe_code_finds_it(code: str) -> None:
    assert [*_forbidden(ast.parse(code))]


def _holds_a_pickle(path: Path) -> bool:
    """Tell whether a file is a pickle of any protocol, from its first opcode to its last."""
    try:
        opcodes = [*pickletools.genops(path.read_bytes())]
    except (ValueError, IndexError, DeprecationWarning):  # pickletools warns of escapes in what is no pickle
        return False
    return len(opcodes) > 1


@pytest.mark.process
def test_a_whole_run_leaves_no_pickle_in_the_home(home: Home, definitions: dg.Definitions, tmp_path: Path) -> None:
    """Dagster's own storage in the home is searched as well."""
    with instance.quiet_instance(home) as dagster:
        finished = runs.execute(dagster, definitions.resolve_job_def("training_job"), QUICK, [*ASSETS], lambda _: None)
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert finished.success
    assert len([path for path in files if path.is_relative_to(home.data)]) == len(ASSETS)
    assert [path for path in files if path.suffix in {".pkl", ".pickle", ".joblib"}] == []
    assert [path for path in files if path.read_bytes()[:1] == b"\x80" or _holds_a_pickle(path)] == []
