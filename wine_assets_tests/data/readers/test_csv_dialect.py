from pathlib import Path

import pandas as pd
import pytest

from wine_assets.data.readers import csv_dialect
from wine_assets.data.readers.csv_dialect import CsvDialect, check_text, read, recognize
from wine_assets.errors import SourceError


def layout_of(text: str, folder: Path) -> CsvDialect:
    path = folder / "a.csv"
    path.write_bytes(text.encode())
    return recognize(path, "a.csv")


@pytest.mark.parametrize(
    ("text", "separator", "decimal"),
    [
        ("a,b\n1,2\n", ",", "."),
        ("a;b\n1;2\n", ";", "."),
        ("a;b\n1,5;2,5\n", ";", ","),
        ("a\tb\n1.5\t2\n", "\t", "."),
        ("a\tb\n1,5\t2,5\n", "\t", ","),
        ("a|b\n1.5|2\n", "|", "."),
        ("1,5;2,5\n3,5;4,5\n", ";", ","),
        ("a,b\n1,x;y\n2,z;w\n", ",", "."),
        ("sep=|\na|b\n1|2\n", "|", "."),
        ("SEP=;\r\na;b\r\n1;2\r\n", ";", "."),
        ('"a;x","b|y"\n"1","2"\n', ",", "."),
        ("x,class\nred,white\n", ",", "."),
    ],
)
def test_the_separator_is_the_one_that_makes_a_table_of_numbers(
    text: str, separator: str, decimal: str, tmp_path: Path
) -> None:
    layout = layout_of(text, tmp_path)
    assert (layout.separator, layout.decimal) == (separator, decimal)


@pytest.mark.parametrize(
    ("text", "names", "skip_lines", "columns"),
    [
        ("a,b\n1,2\n", ("a", "b"), 1, 2),
        ("\n\na,b\n1,2\n", ("a", "b"), 3, 2),
        ('"a\nc",b\n1,2\n', ("a\nc", "b"), 2, 2),
        ("1,2\n3,4\n", (), 0, 2),
        ("0,1,2\n5,6,7\n", (), 1, 3),
        (",0,1\n0,6,7\n", (), 1, 3),
        ("a,b\n1,2,3\n", ("", "a", "b"), 1, 3),
        ("a,b\n1,2,\n", ("a", "b", ""), 1, 3),
        ("2019,2020,class\n1,2,3\n", ("2019", "2020", "class"), 1, 3),
        ("5.1,3.5,setosa\n4.9,3,setosa\n", (), 0, 3),
        ("sep=,\na,b\n1,2\n", ("a", "b"), 2, 2),
        (" a , b \n1,2\n", ("a", "b"), 1, 2),
        ("a,b", ("a", "b"), 1, 2),
        ("1_000,2_000\n1,2\n", ("1_000", "2_000"), 1, 2),
    ],
)
def test_a_header_is_a_first_line_of_words(
    text: str, names: tuple[str, ...], skip_lines: int, columns: int, tmp_path: Path
) -> None:
    layout = layout_of(text, tmp_path)
    assert (layout.names, layout.skip_lines, layout.columns) == (names, skip_lines, columns)


def test_a_file_longer_than_its_head_is_recognised_by_whole_lines(tmp_path: Path) -> None:
    layout = layout_of("a,b\n" + "1.25,2.5\n" * 20_000, tmp_path)
    assert (layout.names, layout.columns) == (("a", "b"), 2)


def test_a_first_line_longer_than_the_head_is_still_read(tmp_path: Path) -> None:
    names = ",".join(f"a_long_column_name_{number}" for number in range(5_000))
    (tmp_path / "a.csv").write_text(f"{names}\n{','.join('1' * 5_000)}\n")
    with pytest.raises(SourceError):
        read(tmp_path / "a.csv", "a.csv")


def test_wrong_bytes_are_located_beyond_the_first_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A character cut by the end of a chunk is no error, and offsets count from the start of the file."""
    monkeypatch.setattr(csv_dialect, "_CHUNK_BYTES", 4)
    content = "ä,ö,ü\nß,€,x\n".encode()
    (tmp_path / "a.csv").write_bytes(content)
    check_text(tmp_path / "a.csv", "a.csv")
    (tmp_path / "a.csv").write_bytes(content + b"12345\xff7\n")
    with pytest.raises(SourceError, match=rf"byte 0xFF at byte offset {len(content) + 5} \(line 3\)"):
        check_text(tmp_path / "a.csv", "a.csv")


def test_a_nul_byte_is_located_beyond_the_first_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_dialect, "_CHUNK_BYTES", 4)
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n\x003,4\n")
    with pytest.raises(SourceError, match=r"NUL byte at byte offset 8 \(line 3\)"):
        check_text(tmp_path / "a.csv", "a.csv")


def test_a_file_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    assert read(tmp_path / "a.csv", "a.csv").columns.equals(pd.RangeIndex(2))


def test_a_field_too_large_for_a_line_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,2\n3,"' + "x" * 3_000_000 + "\n")
    with pytest.raises(SourceError, match=r"a\.csv"):
        read(tmp_path / "a.csv", "a.csv")
