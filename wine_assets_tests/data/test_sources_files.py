import gzip
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fsspec.registry import known_implementations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from wine_assets import files
from wine_assets.data.readers import table_file
from wine_assets.data.sources import FileSource, Table, fingerprint, load
from wine_assets.data.validation import validate
from wine_assets.errors import SourceError, UnreachableSourceError

UCI_NAMES = [
    "Alcohol",
    "Malic acid",
    "Ash",
    "Alcalinity of ash",
    "Magnesium",
    "Total phenols",
    "Flavanoids",
    "Nonflavanoid phenols",
    "Proanthocyanins",
    "Color intensity",
    "Hue",
    "OD280/OD315 of diluted wines",
    "Proline",
]
RATTLE_NAMES = [
    "Alcohol",
    "Malic.acid",
    "Ash",
    "Acl",
    "Mg",
    "Phenols",
    "Flavanoids",
    "Nonflavanoid.phenols",
    "Proanth",
    "Color.int",
    "Hue",
    "OD",
    "Proline",
]
KAGGLE_NAMES = [
    "Alcohol",
    "Malic_Acid",
    "Ash",
    "Ash_Alcanity",
    "Magnesium",
    "Total_Phenols",
    "Flavanoids",
    "Nonflavanoid_Phenols",
    "Proanthocyanins",
    "Color_Intensity",
    "Hue",
    "OD280",
    "Proline",
]
UCIMLREPO_NAMES = [
    "Alcohol",
    "Malicacid",
    "Ash",
    "Alcalinity_of_ash",
    "Magnesium",
    "Total_phenols",
    "Flavanoids",
    "Nonflavanoid_phenols",
    "Proanthocyanins",
    "Color_intensity",
    "Hue",
    "0D280_0D315_of_diluted_wines",
    "Proline",
]
SMALL = pd.DataFrame({"sugar": [1.5, 2.0, 0.25, 8.0], "age": [1, 2, 3, 5], "class": ["red", "white", "red", "white"]})


def read(path: Path | str, **fields: Any) -> Table:
    return load(FileSource(path=str(path), **fields))


def refusal(path: Path | str, **fields: Any) -> str:
    """Return the one sentence that reading `path` is refused with; it names the file."""
    with pytest.raises(SourceError) as caught:
        read(path, **fields)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert Path(str(path)).name in message
    return message


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


Wild = Callable[[pd.DataFrame, Path], Any]


def one_to_three(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(target=frame["target"] + 1)


def named(frame: pd.DataFrame, features: list[str], label: str) -> pd.DataFrame:
    return one_to_three(frame).set_axis([*features, label], axis=1)


def class_first(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[frame.columns[-1], *frame.columns[:-1]]]


def edited(frame: pd.DataFrame, path: Path, old: bytes, new: bytes) -> None:
    """UCI's file with bytes replaced everywhere."""
    class_first(one_to_three(frame)).to_csv(path, header=False, index=False)
    path.write_bytes(path.read_bytes().replace(old, new))


WILD_COPIES: dict[str, Wild] = {
    "UCI's own layout": lambda f, p: class_first(one_to_three(f)).to_csv(p, header=False, index=False),
    "UCI's names": lambda f, p: class_first(named(f, UCI_NAMES, "class")).to_csv(p, index=False),
    "R's rattle": lambda f, p: class_first(named(f, RATTLE_NAMES, "Wine")).to_csv(p, index=False),
    "R's write.csv": lambda f, p: class_first(named(f, RATTLE_NAMES, "Wine")).to_csv(p, quoting=2),
    "Kaggle": lambda f, p: named(f, KAGGLE_NAMES, "Customer_Segment").to_csv(p, index=False),
    "ucimlrepo": lambda f, p: named(f, UCIMLREPO_NAMES, "class").to_csv(p, index=False),
    "scikit-learn's frame": lambda f, p: f.to_csv(p, index=False),
    "scikit-learn's frame with its index": lambda f, p: f.to_csv(p),
    "an index with a name": lambda f, p: f.to_csv(p, index_label="nr"),
    "an index with an odd name": lambda f, p: f.to_csv(p, index_label="Probe"),
    "a class with an odd name": lambda f, p: named(f, UCI_NAMES, "Winzer").to_csv(p, index=False),
    "columns in another order": lambda f, p: f[f.columns[::-1]].to_csv(p, index=False),
    "class last": lambda f, p: one_to_three(f).to_csv(p, header=False, index=False),
    "class from 0": lambda f, p: class_first(f).to_csv(p, header=False, index=False),
    "an index and no header": lambda f, p: class_first(one_to_three(f)).to_csv(p, header=False),
    "columns that are numbered": lambda f, p: class_first(f).set_axis(range(14), axis=1).to_csv(p, index=False),
    "columns and rows that are numbered": lambda f, p: class_first(f).set_axis(range(14), axis=1).to_csv(p),
    "semicolons": lambda f, p: f.to_csv(p, index=False, sep=";"),
    "semicolons and decimal commas": lambda f, p: f.to_csv(p, index=False, sep=";", decimal=","),
    "tabs": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "bars, no header": lambda f, p: class_first(one_to_three(f)).to_csv(p, header=False, index=False, sep="|"),
    "Excel's sep line": lambda f, p: p.write_text("sep=;\n" + f.to_csv(index=False, sep=";")),
    "quotes": lambda f, p: f.to_csv(p, index=False, quoting=1),
    "a byte order mark": lambda f, p: f.to_csv(p, index=False, encoding="utf-8-sig"),
    "a byte order mark, no header": lambda f, p: class_first(f).to_csv(
        p, header=False, index=False, encoding="utf-8-sig"
    ),
    "no final newline": lambda f, p: p.write_text(f.to_csv(index=False).rstrip("\n")),
    "Windows line ends": lambda f, p: f.to_csv(p, index=False, lineterminator="\r\n"),
    "old Mac line ends": lambda f, p: f.to_csv(p, index=False, lineterminator="\r"),
    "blank lines": lambda f, p: p.write_text("\n\n" + f.to_csv(index=False).replace("\n", "\n\n")),
    "separators at line ends": lambda f, p: p.write_text(f.to_csv(index=False).replace("\n", ",\n")),
    "separators at the ends of rows": lambda f, p: p.write_text(
        f.to_csv(index=False).replace("\n", ",\n").replace("target,", "target")
    ),
    "spaces after commas": lambda f, p: edited(f, p, b",", b", "),
}


@pytest.mark.parametrize("write", WILD_COPIES.values(), ids=WILD_COPIES.keys())
def test_every_copy_in_the_wild_gives_scikit_learns_frame(write: Wild, bundled: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "wine.csv"
    write(bundled, path)
    table = read(path)
    pd.testing.assert_frame_equal(table.frame, bundled, check_exact=True)
    assert table.layout == "wine"


def test_a_copy_with_a_row_missing_gives_the_other_rows(uci: Path, bundled: pd.DataFrame) -> None:
    lines = uci.read_text().splitlines(keepends=True)
    uci.write_text("".join(lines[:100] + lines[101:]))
    expected = bundled.drop(index=100).reset_index(drop=True)
    pd.testing.assert_frame_equal(read(uci).frame, expected, check_exact=True)


@pytest.mark.parametrize("labels", [{2: 0}, {2: 7}, {3: 4}, {1: 2}], ids=str)
@pytest.mark.parametrize("header", [True, False])
def test_other_labels_of_the_wine_data_are_not_guessed(
    labels: dict[int, int], *, header: bool, bundled: pd.DataFrame, tmp_path: Path
) -> None:
    """A copy with class 0 in place of 2 might mean anything: it is refused with the labels that it has."""
    frame = class_first(one_to_three(bundled))
    frame["target"] = frame["target"].replace(labels)
    frame.to_csv(tmp_path / "wine.csv", header=header, index=False)
    message = refusal(tmp_path / "wine.csv")
    found = ", ".join(map(str, sorted(frame["target"].unique())))
    assert f"holds the labels {found}, where 1, 2, 3 (UCI) or 0, 1, 2 (scikit-learn) are expected" in message
    assert "`class_column`" in message


def test_naming_the_class_column_takes_the_labels_as_they_are(bundled: pd.DataFrame, tmp_path: Path) -> None:
    bundled.assign(target=bundled["target"] * 5).to_csv(tmp_path / "wine.csv", index=False)
    table = read(tmp_path / "wine.csv", class_column="target")
    assert sorted(table.frame["target"].unique()) == [0, 5, 10]
    assert table.layout == "table"


def test_a_wine_without_its_class_is_left_to_validation(bundled: pd.DataFrame, tmp_path: Path) -> None:
    bundled.assign(target=(bundled["target"] + 1).where(bundled.index != 5)).to_csv(tmp_path / "a.csv", index=False)
    frame = read(tmp_path / "a.csv").frame
    assert frame["target"].isna().tolist().index(True) == 5
    assert sorted(frame["target"].dropna().unique()) == [0, 1, 2]


def test_wine_data_with_a_column_of_its_own_is_any_table(bundled: pd.DataFrame, tmp_path: Path) -> None:
    one_to_three(bundled).assign(price=9.5).to_csv(tmp_path / "a.csv", index=False)
    table = read(tmp_path / "a.csv")
    assert table.layout == "table"
    assert "price" in table.frame.columns
    assert set(table.frame["target"]) == {1, 2, 3}


@pytest.mark.parametrize("absent", [["hue"], ["ash", "hue", "proline"]])
def test_wine_data_that_lack_features_are_left_to_validation(
    bundled: pd.DataFrame, tmp_path: Path, absent: list[str]
) -> None:
    one_to_three(bundled).drop(columns=absent).to_csv(tmp_path / "a.csv")
    table = read(tmp_path / "a.csv")
    assert table.layout == "wine"
    pd.testing.assert_frame_equal(table.frame, bundled.drop(columns=absent))


def test_a_table_with_some_columns_of_the_wine_data_is_a_table_of_its_own(
    bundled: pd.DataFrame, tmp_path: Path
) -> None:
    bundled.drop(columns=list(bundled.columns[:4])).to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path / "a.csv").layout == "table"


@pytest.mark.parametrize("name", ["id", "ID", "wine_id", "nr"])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_a_column_that_numbers_the_rows_is_left_out_wherever_it_is(
    tmp_path: Path, *, name: str, shuffled: bool, place: int
) -> None:
    frame = SMALL.copy()
    frame.insert(place, name, range(100, 100 + len(frame)))
    (frame.sample(frac=1, random_state=1) if shuffled else frame).to_csv(tmp_path / "a.csv", index=False)
    table = read(tmp_path / "a.csv")
    assert (name not in table.frame.columns, table.indexes) == (True, (name,))
    assert name in read(tmp_path / "a.csv", features=["age", name]).frame.columns


def test_a_column_named_like_an_index_that_numbers_nothing_is_a_feature(tmp_path: Path) -> None:
    SMALL.assign(id=7, row=0.5 + np.arange(len(SMALL))).to_csv(tmp_path / "a.csv", index=False)
    table = read(tmp_path / "a.csv")
    assert {"id", "row"} <= {*table.frame.columns}
    assert table.indexes == ()


def test_any_table_with_a_class_column_is_read_as_it_is(tmp_path: Path) -> None:
    SMALL[["class", "sugar", "age"]].to_csv(tmp_path / "a.csv", index=False)
    table = read(tmp_path / "a.csv")
    pd.testing.assert_frame_equal(table.frame, SMALL.rename(columns={"class": "target"}))
    assert (table.layout, table.origin) == ("table", f"the file {tmp_path / 'a.csv'}")


def test_features_are_exactly_those_asked_for_in_their_order(tmp_path: Path) -> None:
    SMALL.to_csv(tmp_path / "a.csv", index=False)
    assert list(read(tmp_path / "a.csv", features=["age"]).frame.columns) == ["age", "target"]
    assert list(read(tmp_path / "a.csv", features=["age", "Sugar"]).frame.columns) == ["age", "sugar", "target"]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "txt", "data", "tsv", "unknown"])
def test_a_text_file_is_known_by_its_content(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    SMALL.to_csv(path, index=False)
    assert read(path).frame["target"].tolist() == SMALL["class"].tolist()


@pytest.mark.parametrize("suffix", ["parquet", "pq", "unknown"])
def test_a_parquet_file_is_known_by_its_content(suffix: str, tmp_path: Path) -> None:
    SMALL.to_parquet(tmp_path / f"a.{suffix}")
    pd.testing.assert_frame_equal(read(tmp_path / f"a.{suffix}").frame, SMALL.rename(columns={"class": "target"}))


def test_an_index_that_pandas_stored_in_parquet_is_no_feature(tmp_path: Path, bundled: pd.DataFrame) -> None:
    bundled.sample(178, random_state=1).rename_axis("cellar").to_parquet(tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert list(table.frame.columns) == list(bundled.columns)
    assert table.frame.index.equals(pd.RangeIndex(178))
    assert table.layout == "wine"


def test_every_kind_of_number_in_parquet_becomes_float64_or_int64(tmp_path: Path) -> None:
    columns: dict[str, pa.Array] = {
        "decimal": pa.array([Decimal("1.25"), Decimal("2.50")]),
        "half": pa.array([1.5, 2.5]).cast(pa.float16()),
        "single": pa.array([1.5, 2.5], pa.float32()),
        "small": pa.array([1, 2], pa.int8()),
        "large": pa.array([1, 2**63], pa.uint64()),
        "truth": pa.array([True, False]),
        "gap": pa.array([1, None], pa.int32()),
        "nothing": pa.nulls(2),
        "coded": pa.array([7.5, 8.5]).dictionary_encode(),
        "label": pa.array(["a", "b"]).dictionary_encode(),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    frame = read(tmp_path / "a.parquet").frame
    kinds = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert kinds == dict.fromkeys(["decimal", "half", "single", "large", "gap", "nothing", "coded"], "float64") | {
        "small": "int64",
        "truth": "int64",
        "target": "str",
    }
    assert frame["decimal"].tolist() == [1.25, 2.5]
    assert frame["coded"].tolist() == [7.5, 8.5]


def test_whole_numbers_stored_as_floats_are_class_labels(tmp_path: Path) -> None:
    SMALL.assign(**{"class": [1.0, 2.0, 1.0, 2.0]}).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").frame["target"].dtype == "int64"


def test_blank_labels_are_missing_labels(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "x,class\n1, red\n2,\n3,  \n4,red\n")
    assert read(tmp_path / "a.csv").frame["target"].isna().tolist() == [False, True, True, False]


def test_words_that_look_like_truth_values_or_dates_stay_words(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "x,class\n1,true\n2,2020-01-01\n")
    assert read(tmp_path / "a.csv").frame["target"].tolist() == ["true", "2020-01-01"]


def test_a_quoted_label_may_have_line_ends_and_separators_in_it(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", 'x,class\n1,"red,\nor so"\n2,white\n')
    assert read(tmp_path / "a.csv").frame["target"].tolist() == ["red,\nor so", "white"]


VALID_CSV = b"x,y,class\n1.5,2,a\n2.5,3,b\n3.5,4,a\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b" \n\t\r\n ", "the file is blank"),
        ("a.csv", b"\xef\xbb\xbf", "the file is blank"),
        ("a.csv", b"x,class\n", "has a header but no rows"),
        ("a.csv", b"x\n1\n2\n", "has a single column"),
        ("a.csv", b"1 2 3\n4 5 6\n", "has a single column"),
        ("a.csv", b"x,x,class\n1,2,a\n", "more than one column named `x`"),
        ("a.csv", b"x,,class\n1,2,a\n", "Column 2 of"),
        ("a.csv", b"x,y\n1,2\n", "no class column was found among `x`, `y`. Name the class column in `class_column`"),
        ("a.csv", b"x,Class,label\n1,2,3\n", "more than one column could hold the class (Class, label)"),
        ("a.csv", b"class\tx\n", "has a header but no rows"),
        ("a.csv", b"5.1,3.5,1.4,0.2,setosa\n4.9,3,1.4,0.2,setosa\n", "has no header"),
        ("a.csv", b"1,2,3\n3,4,5\n", "has no header, and its 3 columns aren't those of the UCI wine data"),
        ("a.csv", b"1,14.2,?,3\n" * 3, "has no header"),
        ("a.csv", b"1,2,3,4,5,6,7,8,9,10,11,12,13,14\n" * 3, "has no header, and its 14 columns"),
        ("a.csv", VALID_CSV + b"4.5,5\n", "Line 5 of"),
        ("a.csv", VALID_CSV + b"4.5,5,a,b\n", "has 4 fields, where the first line has 3"),
        ("a.csv", VALID_CSV + b'"4.5,5,a\n', "Line 5 of"),
        ("a.csv", b"x,caf\xe9,class\n1,2,a\n", "byte 0xE9 at byte offset 5 (line 1)"),
        ("a.csv", VALID_CSV + b"4.5,5,ros\xe9\n", f"byte 0xE9 at byte offset {len(VALID_CSV) + 9} (line 5)"),
        ("a.csv", VALID_CSV + b"4.5,5,\xc3", f"byte 0xC3 at byte offset {len(VALID_CSV) + 6} (line 5)"),
        ("a.csv", VALID_CSV.decode().encode("utf-16"), "UTF-16"),
        ("a.csv", VALID_CSV.decode().encode("utf-16-le"), "UTF-16"),
        ("a.csv", VALID_CSV.decode().encode("utf-32"), "UTF-32"),
        ("a.csv", VALID_CSV + b"4,\0,a\n", f"NUL byte at byte offset {len(VALID_CSV) + 2} (line 5)"),
        ("a.csv", b"PAR1" + b"x" * 50, "it is a Parquet file: name it .parquet"),
        ("a.csv", gzip.compress(VALID_CSV, mtime=0), "it is gzip-compressed: name it .csv.gz"),
        ("a.csv", b"\xd0\xcf\x11\xe0old", "an old Excel workbook"),
        ("a.csv", b"SQLite format 3\0", "an SQLite database"),
        ("a.csv", b"\n<!DOCTYPE html><html></html>", "an HTML or XML page"),
        ("a.csv", b'{"x": 1}', "it is JSON"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.csv.gz", VALID_CSV, "isn't gzip-compressed, although its name ends in .gz"),
        ("a.csv.gz", gzip.compress(VALID_CSV * 100, mtime=0)[:-20], "is damaged or truncated"),
        ("a.csv.gz", gzip.compress(VALID_CSV, mtime=0)[:12] + b"\xff" * 30, "is damaged or truncated"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        (
            "a.parquet",
            VALID_CSV,
            "isn't a Parquet file, although its name ends in .parquet: it starts with b'x,y,clas'",
        ),
        ("a.parquet", b"PAR1", "damaged or truncated Parquet file"),
        ("a.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "damaged or truncated Parquet file"),
    ],
)
def test_a_file_that_cant_be_used_is_refused_in_one_sentence(
    name: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    assert expected in refusal(written(tmp_path / name, content))


def test_an_excel_workbook_named_csv_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    assert "a ZIP archive or an Excel workbook" in refusal(tmp_path / "a.csv")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_parquet_file_cut_anywhere_is_refused(share: float, bundled: pd.DataFrame, tmp_path: Path) -> None:
    bundled.to_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    written(tmp_path / "a.parquet", content[: int(len(content) * share)])
    assert "damaged or truncated Parquet file" in refusal(tmp_path / "a.parquet")


def test_a_parquet_file_with_damaged_pages_is_refused(bundled: pd.DataFrame, tmp_path: Path) -> None:
    bundled.to_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    written(tmp_path / "a.parquet", content[:100] + b"\xff" * 600 + content[700:])
    assert "damaged or truncated Parquet file" in refusal(tmp_path / "a.parquet")


def test_a_parquet_file_whose_text_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    labels = pa.array([b"red", b"ros\xe9"]).view(pa.string())
    parquet.write_table(pa.table({"x": [1, 2], "class": labels}), tmp_path / "a.parquet")
    assert "Invalid UTF8" in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "labels",
    [pa.array([[1], [2]]), pa.array([b"a", b"\xff"]), pa.array([2**63, 1], pa.uint64()), pa.array([1.5, 2.0])],
    ids=lambda labels: str(labels.type),
)
def test_labels_that_are_no_classes_are_left_to_validation(labels: pa.Array, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"x": [1, 2], "class": labels}), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet")
    assert table.frame["target"].tolist() == labels.to_pylist()
    assert any(result.blocking and not result.passed for result in validate(table.frame, table.layout))


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame({"x": [], "class": []})], ids=["no columns", "no rows"])
def test_a_parquet_file_without_rows_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "a.parquet")
    assert "no rows" in refusal(tmp_path / "a.parquet")


def test_a_parquet_file_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["x", "x", "class"])
    parquet.write_table(table, tmp_path / "a.parquet")
    assert "more than one column named `x`" in refusal(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"class_column": "colour"}, "`class_column` names `colour`, which"),
        ({"features": ["sugar", "acid"]}, "`features` names `acid`, which"),
        ({"features": ["sugar", "sugar"]}, "`features` names `sugar` more than once"),
        ({"features": ["sugar", "class"]}, "`features` names `class`, which is the class column"),
        ({"class_column": "age"}, "a feature named `target` beside the class column `age`"),
    ],
)
def test_columns_that_cant_be_had_are_refused(fields: dict[str, Any], expected: str, tmp_path: Path) -> None:
    columns = SMALL.rename(columns={"sugar": "target"}) if fields == {"class_column": "age"} else SMALL
    columns.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(SourceError) as caught:
        read(tmp_path / "a.csv", **fields)
    assert expected in str(caught.value)


def test_a_table_of_its_class_alone_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", ",class\n0,a\n1,b\n")
    assert "no column but the class column `class`" in refusal(tmp_path / "a.csv")


def test_a_wide_table_is_not_listed_whole(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", ",".join(f"x{n}" for n in range(50)) + "\n" + ",".join("1" * 50) + "\n")
    assert "`x19` and 30 more" in refusal(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("absent.csv", "There is no file absent.csv"),
        ("/", "/ is a folder"),
        ("/dev/null", "is not a regular file"),
        ("a\0b.csv", "can't be opened (embedded null byte)"),
        ("x" * 5000 + ".csv", "can't be opened (File name too long)"),
        ("nosuch://host/a.csv", "can't be downloaded"),
        ("http://127.0.0.1:1/a.csv", "can't be downloaded"),
        ("memory://absent.csv", "There is no file at memory://absent.csv"),
    ],
)
def test_a_path_without_a_file_is_refused(path: str, expected: str) -> None:
    for attempt in (load, fingerprint):
        with pytest.raises(SourceError) as caught:
            attempt(FileSource(path=path))
        assert expected in str(caught.value)
        assert str(caught.value).endswith(".")
        assert isinstance(caught.value, UnreachableSourceError) == path.startswith("http")


def test_a_protocol_whose_library_is_missing_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        known_implementations,
        "cellar",
        {"class": "absent_cellar.FileSystem", "err": "Install cellarfs to read it"},
    )
    with pytest.raises(SourceError, match=r"cellar://a/b\.csv can't be read: Install cellarfs to read it"):
        read("cellar://a/b.csv")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the fingerprint of one content would be given to another."""
    path = tmp_path / "a.csv"
    SMALL.to_csv(path, index=False)
    hashed = files.sha256_of_file

    def replaced_after_hashing(local: Path) -> str:
        digest = hashed(local)
        SMALL.head(2).to_csv(path, index=False)
        return digest

    monkeypatch.setattr(table_file, "sha256_of_file", replaced_after_hashing)
    assert "changed while it was read" in refusal(path)


def test_the_fingerprint_follows_the_content_and_how_it_is_understood(tmp_path: Path) -> None:
    SMALL.to_csv(tmp_path / "a.csv", index=False)
    SMALL.to_csv(tmp_path / "b.csv", index=False)
    source = FileSource(path=str(tmp_path / "a.csv"))
    assert fingerprint(source) == fingerprint(FileSource(path=str(tmp_path / "b.csv"))) == load(source).fingerprint
    others = [
        FileSource(path=source.path, class_column="class"),
        FileSource(path=source.path, features=["age"]),
        FileSource(path=str(written(tmp_path / "c.csv", (tmp_path / "a.csv").read_bytes() + b"9,9,red\n"))),
    ]
    assert len({fingerprint(other) for other in [source, *others]}) == 4


def test_the_same_bytes_under_a_suffix_that_means_another_format_are_other_data(tmp_path: Path) -> None:
    """A file that would be refused under its new name doesn't count as unchanged."""
    names = ["a.csv", "a.parquet", "a.csv.gz", "a.unknown"]
    paths = [str(written(tmp_path / name, VALID_CSV)) for name in names]
    assert len({fingerprint(FileSource(path=path)) for path in paths}) == len(names)


def test_a_file_url_and_a_home_path_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    SMALL.to_csv(tmp_path / "a.csv", index=False)
    assert len({fingerprint(FileSource(path=path)) for path in (f"file://{tmp_path}/a.csv", "~/a.csv")}) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder `tmp_path` over HTTP; whatever has `secret` in its name is forbidden, `busy` is overloaded."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if "secret" in self.path:
                self.send_error(403)
            elif "busy" in self.path:
                self.send_error(503)
            elif "cut" in self.path:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(VALID_CSV)
            else:
                super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.csv.gz", "a.csv?version=2"])
def test_a_file_behind_a_url_is_downloaded(name: str, server: str, tmp_path: Path) -> None:
    path = tmp_path / name.partition("?")[0]
    SMALL.to_parquet(path) if path.suffix == ".parquet" else SMALL.to_csv(path, index=False)
    table = read(f"{server}/{name}")
    pd.testing.assert_frame_equal(table.frame, SMALL.rename(columns={"class": "target"}))
    assert table.fingerprint == fingerprint(FileSource(path=f"{server}/{name}")) == read(path).fingerprint


@pytest.mark.parametrize(
    ("name", "expected"),
    [("absent.csv", "not found, 404"), ("secret.csv", "can't be downloaded"), ("page.csv", "HTML")],
)
def test_a_url_without_a_table_is_refused(name: str, expected: str, server: str, tmp_path: Path) -> None:
    written(tmp_path / "page.csv", "<html>Please sign in</html>")
    assert expected in refusal(f"{server}/{name}")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("absent.csv", SourceError),
        ("secret.csv", SourceError),
        ("busy.csv", UnreachableSourceError),
        ("cut.csv", UnreachableSourceError),
    ],
)
def test_only_trouble_that_may_pass_is_worth_another_attempt(name: str, kind: type[SourceError], server: str) -> None:
    with pytest.raises(SourceError) as caught:
        fingerprint(FileSource(path=f"{server}/{name}"))
    assert type(caught.value) is kind


def test_a_remote_folder_is_refused() -> None:
    fsspec.filesystem("memory").mkdir("/folder")
    assert "is a folder" in refusal("memory://folder")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal of the system is played here."""
    path = written(tmp_path / "a.csv", VALID_CSV)

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refused)
    assert "can't be opened (Permission denied)" in refusal(path)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(FINITE, st.integers(-(2**63), 2**63 - 1), st.text("abcäß ,;\"'|", min_size=1)),
        min_size=2,
        max_size=30,
    ),
    separator=st.sampled_from(",;\t|"),
)
def test_any_frame_written_to_csv_is_read_back_unchanged(
    rows: list[tuple[float, int, str]], separator: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame(rows, columns=["measured", "counted", "target"])
    labels = frame["target"].str.strip()
    frame["target"] = labels.where(labels != "", "blank")
    frame.to_csv(tmp_path / "a.csv", index=False, sep=separator)
    pd.testing.assert_frame_equal(read(tmp_path / "a.csv").frame, frame, check_exact=True)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.text(',;\n\r"01.x\t', max_size=80).map(str.encode)))
def test_no_bytes_give_a_traceback(content: bytes, tmp_path: Path) -> None:
    """Whatever is in a file, it is a table or a sentence."""
    for suffix in ("csv", "parquet", "csv.gz", "unknown"):
        try:
            read(written(tmp_path / f"a.{suffix}", content))
        except SourceError as error:
            assert f"a.{suffix}" in str(error)  # noqa: PT017 - either outcome is right, and the text is checked for one
