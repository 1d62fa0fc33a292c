"""The dialect of a delimited text file, found by looking at it."""

import codecs
import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_assets.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

CLASS_NAMES = ("target", "class", "label", "wine", "customer_segment", "class_label", "cultivar", "species")

_DIALECTS = ((",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", "."), ("|", ","))
_MISSING = ("", "?", "na", "n/a", "#n/a", "null", "none")
_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16
_HEAD_ROWS = 50
_BOM = "\ufeff"
_EXCEL_PREAMBLE = "sep="
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class CsvDialect:
    """How to read a delimited file: `names` is empty when the file has no header."""

    separator: str
    decimal: str
    names: tuple[str, ...]
    skip_lines: int
    columns: int


@dataclass(frozen=True)
class _Guess:
    separator: str
    decimal: str
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    width: int
    score: tuple[bool, bool, float, int]


def read(path: Path, name: str) -> "pd.DataFrame":
    """Read the text file at `path`; its columns are numbered 0, 1, 2, ... when it has no header.

    `name` is what the user calls the file. Raises SourceError when it isn't delimited UTF-8 text with as many
    fields in every line.
    """
    from pyarrow import ArrowInvalid

    check_text(path, name)
    dialect = recognize(path, name)
    _check_names(dialect, name)
    try:
        return _parsed(path, dialect)
    except ArrowInvalid as error:
        raise _parse_error(path, name, dialect, error) from error


def check_text(path: Path, name: str) -> None:
    """Raise SourceError, with the offset and the line, unless the file is UTF-8 text with something in it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    blank = True
    offset = 0
    for chunk in itertools.chain(_chunks(path), [b""]):
        _check_bytes(chunk, offset, path, name)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            position = offset + len(chunk) - len(error.object) + error.start
            raise SourceError(_encoding_sentence(path, name, position, error.object[error.start])) from None
        blank = blank and not text.strip(_BOM + " \t\r\n\v\f")
        offset += len(chunk)
    if blank:
        state = "blank" if offset else "empty"
        raise SourceError(f"{name} holds no rows, the file is {state}: check how it was written")


def recognize(path: Path, name: str) -> CsvDialect:
    """Find out separator, decimal sign, header and number of columns from the first lines of the file."""
    text, preamble = _head(path)
    guess = max((_guess(text, *marks) for marks in _dialects(preamble)), key=lambda guess: guess.score)
    if guess.width == 1:
        raise SourceError(
            f"{name} has a single column: a table needs at least one feature and a class column, separated by "
            "commas, semicolons, tabs or |. Save it with one of these separators"
        )
    return _with_header(guess, skipped=1 if preamble else 0)


def _is_positional(row: tuple[str, ...]) -> bool:
    """Tell whether a first row only numbers its columns 0, 1, 2, ..., perhaps after a blank over an index."""
    cells = row[1:] if not row[0].strip() else row
    return len(cells) > 1 and [cell.strip() for cell in cells] == [str(place) for place in range(len(cells))]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _check_bytes(chunk: bytes, offset: int, path: Path, name: str) -> None:
    if offset == 0 and (chunk.startswith(_UTF_16_MARKS) or b"\0" in chunk[:4]):
        raise SourceError(f"{name} is encoded as UTF-16 or UTF-32 (byte offset 0, line 1): save the file as UTF-8")
    place = chunk.find(b"\0")
    if place >= 0:
        place += offset
        raise SourceError(
            f"{name} has a NUL byte at byte offset {place} (line {_line_at(path, place)}), which text doesn't have: "
            "the file is damaged, or isn't text. Write it again"
        )


def _encoding_sentence(path: Path, name: str, position: int, byte: int) -> str:
    return (
        f"{name} isn't encoded as UTF-8: byte 0x{byte:02X} at byte offset {position} (line {_line_at(path, position)}) "
        "is not valid there. Save the file as UTF-8 (it may be Latin-1 or Windows-1252 now)"
    )


def _line_at(path: Path, position: int) -> int:
    with path.open("rb") as file:
        return file.read(position).count(b"\n") + 1


def _head(path: Path) -> tuple[str, str]:
    """Return the whole lines at the start of the file, and the separator that an Excel `sep=` line declares."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        cut = bool(file.read(1))
    text = head.decode("utf-8", errors="ignore").removeprefix(_BOM)
    if cut and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    start = len(_EXCEL_PREAMBLE)
    if text[:start].lower() == _EXCEL_PREAMBLE and len(text) > start:
        return text.split("\n", 1)[-1], text[start]
    return text, ""


def _dialects(preamble: str) -> list[tuple[str, str]]:
    declared = [dialect for dialect in _DIALECTS if dialect[0] == preamble]
    return declared or list(_DIALECTS)


def _guess(text: str, separator: str, decimal: str) -> _Guess:
    """Read the first rows with one separator and score how much they look like a table of numbers."""
    rows, lines = _first_rows(text, separator)
    data = rows[1:] or rows
    widths = Counter(len(row) for row in data)
    width, regular = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    numbers = [_is_plain_number(cell, decimal) for row in data if len(row) == width for cell in row]
    likeness = regular / max(len(data), 1) * sum(numbers) / max(len(numbers), 1)
    fits = width > 1 and len(rows[0]) == width
    return _Guess(separator, decimal, rows, lines, width, (width > 1, fits, likeness, width))


def _first_rows(text: str, separator: str) -> tuple[tuple[tuple[str, ...], ...], tuple[int, ...]]:
    """Return the first rows that aren't blank, with the number of the line that each ends in."""
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for row in itertools.islice(reader, _HEAD_ROWS):
        if row:
            rows.append(tuple(row))
            lines.append(reader.line_num)
    return tuple(rows), tuple(lines)


def _is_number(cell: str, decimal: str) -> bool:
    """Tell whether a field is a number, or one of the usual marks of a missing one."""
    return cell.strip().lower() in _MISSING or _is_plain_number(cell, decimal)


def _is_plain_number(cell: str, decimal: str) -> bool:
    try:
        float(cell.replace(decimal, "."))
    except ValueError:
        return False
    return "_" not in cell


def _with_header(guess: _Guess, skipped: int) -> CsvDialect:
    first = guess.rows[0]
    if _is_positional(first):
        return CsvDialect(guess.separator, guess.decimal, (), guess.lines[0] + skipped, guess.width)
    if not _is_header(first, guess.decimal):
        return CsvDialect(guess.separator, guess.decimal, (), skipped, len(first))
    names = _padded(tuple(cell.strip() for cell in first), guess)
    return CsvDialect(guess.separator, guess.decimal, names, guess.lines[0] + skipped, len(names))


def _is_header(row: tuple[str, ...], decimal: str) -> bool:
    """Tell whether a row has a well-known name for the class, or more words than numbers."""
    if any(cell.strip().lower() in CLASS_NAMES for cell in row):
        return True
    words = sum(not _is_number(cell, decimal) for cell in row)
    return 2 * words > len(row)


def _padded(names: tuple[str, ...], guess: _Guess) -> tuple[str, ...]:
    """Name the column that a header leaves out: R's row names in front, or what follows a trailing separator."""
    if guess.width != len(names) + 1:
        return names
    if all(not row[-1].strip() for row in guess.rows[1:] if len(row) == guess.width):
        return (*names, "")
    return ("", *names)


def _check_names(dialect: CsvDialect, name: str) -> None:
    doubles = [column for column, count in Counter(dialect.names).items() if column and count > 1]
    if doubles:
        raise SourceError(
            f"{name} has more than one column named `{doubles[0]}`: column names must be unique. Rename or remove one"
        )


def _parsed(path: Path, dialect: CsvDialect) -> "pd.DataFrame":
    from pyarrow import csv as arrow_csv

    from wine_assets.data.readers.arrow_tables import frame_of

    places = [str(place) for place in range(dialect.columns)]
    table = arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(column_names=places, skip_rows=dialect.skip_lines),
        parse_options=arrow_csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
        convert_options=_conversion(arrow_csv, dialect.decimal),
    )
    frame = frame_of(table)
    return frame.set_axis(list(dialect.names) or range(dialect.columns), axis="columns")


def _conversion(arrow_csv: Any, decimal: str) -> Any:
    """Numbers become numbers; words such as true or 2020-01-01 stay the words they are."""
    return arrow_csv.ConvertOptions(decimal_point=decimal, true_values=[], false_values=[], timestamp_parsers=["%%"])


def _parse_error(path: Path, name: str, dialect: CsvDialect, error: Exception) -> SourceError:
    ragged = _first_ragged_line(path, dialect)
    if ragged is None:
        return SourceError(
            f"{name} can't be read as delimited text: {' '.join(str(error).split())[:200]}. Write it again"
        )
    line, fields = ragged
    return SourceError(
        f"Line {line} of {name} has {fields} fields, where the first line has {dialect.columns}. "
        "Correct that line, or quote the fields that contain the separator"
    )


def _first_ragged_line(path: Path, dialect: CsvDialect) -> tuple[int, int] | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=dialect.separator)
        try:
            for row in reader:
                if reader.line_num > dialect.skip_lines and row and len(row) != dialect.columns:
                    return reader.line_num, len(row)
        except csv.Error:
            return None
    return None
