"""A file that can't be learned from: the run says what is wrong with it, and all that was made before stays."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from wine_assets import definitions, settings
from wine_assets.files import TEMPORARY_PREFIX, sha256_of_file
from wine_assets_tests.support.command_line import (
    ASSETS,
    MODEL_ASSETS,
    QUICK,
    Ended,
    called,
    ran,
    recorded,
    runs,
    variables,
)

Writer = Callable[[Path], Path]


def wine() -> pd.DataFrame:
    """Return the wine data as scikit-learn ships it: 13 features and `target`."""
    frame: pd.DataFrame = load_wine(as_frame=True).frame
    return frame


def csv(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / "bad.csv", index=False)
    return folder / "bad.csv"


def lines(folder: Path, change: Callable[[list[str]], list[str]]) -> Path:
    """Write the good file with its lines changed."""
    path = csv(folder, wine())
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    return path


def content(folder: Path, name: str, written: bytes) -> Path:
    (folder / name).write_bytes(written)
    return folder / name


def parquet(folder: Path) -> bytes:
    wine().to_parquet(folder / "good.parquet")
    return (folder / "good.parquet").read_bytes()


def with_value(column: str, rows: list[int], value: Any) -> pd.DataFrame:
    frame = wine().astype({column: object})
    frame.loc[rows, column] = value
    return frame


BAD: dict[str, tuple[Writer, str]] = {
    "missing values": (
        lambda folder: csv(folder, with_value("alcohol", [3, 7], None)),
        r"Check `finite` failed: `alcohol` has 2 missing \(NaN\) values \(first rows, counted from 0: 3, 7\)",
    ),
    "infinite values": (
        lambda folder: csv(folder, with_value("hue", [5], float("inf"))),
        r"Check `finite` failed: `hue` has 1 infinite value \(first rows, counted from 0: 5\)",
    ),
    "words among numbers": (
        lambda folder: csv(folder, with_value("ash", [2, 4], "plenty")),
        r"`ash` must hold numbers, and 2 rows have none, such as 'plenty' \(first rows, counted from 0: 2, 4\)",
    ),
    "one class": (
        lambda folder: csv(folder, wine().query("target == 0").rename(columns={"hue": "tone"})),
        r"Check `classes` failed: `target` has one class only, '0'",
    ),
    "a column missing": (
        lambda folder: csv(folder, wine().drop(columns="hue")),
        r"Check `columns` failed: the column `hue` is missing[.] .* name the ones to use in --feature",
    ),
    "no class column": (
        lambda folder: csv(folder, wine().drop(columns="target")),
        r"no class column was found among `alcohol`",
    ),
    "a column twice": (
        lambda folder: lines(folder, lambda rows: [rows[0].replace("malic_acid", "alcohol"), *rows[1:]]),
        r"more than one column named `alcohol`",
    ),
    "a line too long": (
        lambda folder: lines(folder, lambda rows: [*rows[:9], rows[9] + ",1", *rows[10:]]),
        r"Line 10 of .* has 15 fields, where the first line has 14",
    ),
    "no rows": (lambda folder: lines(folder, lambda rows: rows[:1]), r"has a header but no rows"),
    "nothing": (lambda folder: content(folder, "bad.csv", b""), r"the file is empty"),
    "another encoding": (
        lambda folder: lines(folder, lambda rows: rows) and _in_latin_1(folder),
        r"isn't encoded as UTF-8: byte 0xE9 at byte offset \d+ \(line 1\)",
    ),
    "a truncated Parquet file": (
        lambda folder: content(folder, "bad.parquet", parquet(folder)[:-100]),
        r"is a damaged or truncated Parquet file",
    ),
    "text that is called Parquet": (
        lambda folder: content(folder, "bad.parquet", csv(folder, wine().iloc[1:]).read_bytes()),
        r"isn't a Parquet file, although its name ends in \.parquet",
    ),
    "a folder": (lambda folder: folder, r"is a folder"),
}


def _in_latin_1(folder: Path) -> Path:
    path = folder / "bad.csv"
    return content(folder, "bad.csv", path.read_text().replace("alcohol", "degré").encode("latin-1"))


@pytest.fixture(scope="module")
def good_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good file, and a home in which everything was made of it, for tests that copy it."""
    folder = tmp_path_factory.mktemp("good")
    wine().to_csv(folder / "wine.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        for variable in variables():
            patch.delenv(variable, raising=False)
        patch.setenv(settings.HOME_VARIABLE, str(folder / "home"))
        assert called("run", "--source", str(folder / "wine.csv"), *QUICK).status == 0
    return folder


@pytest.fixture
def good(good_once: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, in which everything was made of a good file; a source is read once."""
    shutil.copytree(good_once / "home", home)
    monkeypatch.setenv(settings.HOME_VARIABLE, str(home))
    monkeypatch.setenv(settings.COMPUTE_VARIABLE, '{"raw_wine": {"retries": 0}}')
    monkeypatch.setattr(definitions, "defs", definitions.build_definitions())
    return home


def everything(home: Path) -> dict[str, str]:
    """Return the hash of each file that runs have stored."""
    folders = (home / "data", home / "reports")
    return {str(path): sha256_of_file(path) for folder in folders for path in folder.rglob("*") if path.is_file()}


def check_refused(ended: Ended, reason: str) -> None:
    sentence, kept = ended.err.splitlines()
    assert ended.status == 1
    assert re.search(reason, sentence), sentence
    assert sentence.endswith(".")
    assert kept.startswith("The last good data and model stay as they were.")
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_and_everything_stays(kind: str, good: Path, tmp_path: Path) -> None:
    write, reason = BAD[kind]
    folder = tmp_path / "files"
    folder.mkdir()
    files, records = everything(good), recorded(good)
    check_refused(called("run", "--source", str(write(folder)), *QUICK), reason)
    assert everything(good) == files
    assert recorded(good) == records
    assert not [*good.rglob(f"{TEMPORARY_PREFIX}*")]


def test_a_feature_that_is_not_there_is_named(good: Path, tmp_path: Path) -> None:
    path, records = csv(tmp_path, wine().drop(columns="hue")), recorded(good)
    ended = called("run", "--source", str(path), "--feature", "ash", "--feature", "hue", *QUICK)
    check_refused(ended, r"--feature names `hue`, which .* doesn't have")
    assert recorded(good) == records


def test_a_bad_file_is_refused_when_the_command_is_started_as_a_user_does(good: Path, tmp_path: Path) -> None:
    write, reason = BAD["missing values"]
    files = everything(good)
    check_refused(ran(good, "run", "--source", str(write(tmp_path))), reason)
    assert everything(good) == files


def test_a_good_file_after_bad_ones_gives_new_data_and_a_new_model(good: Path, good_once: Path, tmp_path: Path) -> None:
    before, records = everything(good), recorded(good)
    check_refused(called("run", "--source", str(csv(tmp_path, with_value("ash", [0], None))), *QUICK), "ash")
    better = csv(tmp_path, wine().iloc[::2])
    ended = called("run", "--json", "--source", str(better), *QUICK)
    result = json.loads(ended.out)
    assert (ended.status, result["launched"], result["data"]["rows"]) == (0, [*ASSETS], 89)
    after = recorded(good)
    assert all(after[name] != records[name] for name in ASSETS)
    assert before.items() <= everything(good).items(), "a version that was replaced is still there"
    assert called("run", "--source", str(good_once / "wine.csv"), *QUICK).status == 0
    assert recorded(good) == records


def test_after_a_bad_file_the_old_model_is_up_to_date_for_the_old_file(
    good: Path, good_once: Path, tmp_path: Path
) -> None:
    called("run", "--source", str(csv(tmp_path, with_value("ash", [0], None))), *QUICK)
    count = len(runs(good))
    assert "Nothing to do" in called("run", "--source", str(good_once / "wine.csv"), *QUICK).out
    assert len(runs(good)) == count


def test_rows_that_a_check_only_warns_of_are_learned_from(good: Path, tmp_path: Path) -> None:
    frame = wine()
    frame.loc[4, "hue"] = -1.0
    repeated = pd.concat([frame, frame.iloc[:3]])
    ended = called("run", "--json", "--source", str(csv(tmp_path, repeated)), *QUICK)
    assert ended.status == 0
    assert {*MODEL_ASSETS} <= {*json.loads(ended.out)["launched"]}
    assert set(recorded(good)) == {*ASSETS}
