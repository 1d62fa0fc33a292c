"""A file that holds a table, on this machine or behind a URL."""

import contextlib
import errno
import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_assets.data.readers import spool
from wine_assets.errors import SourceError, UnreachableSourceError
from wine_assets.files import sha256_of_file

if TYPE_CHECKING:
    import pandas as pd

_REMOTE = re.compile(r"^[a-z][a-z0-9+.\-]*(://|::)", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_HEAD_BYTES = 64
_FOREIGN = (
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (_GZIP, "gzip-compressed", "name it .csv.gz"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"ARROW1", "an Arrow or Feather file", "write it as Parquet"),
    (b"SQLite format 3", "an SQLite database", "use a SQL source with the URL sqlite:///PATH"),
    (b"%PDF", "a PDF document", "save the table as CSV"),
    (b"BZh", "bzip2-compressed", "unpack it"),
    (b"\xfd7zXZ", "xz-compressed", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet"),
    (b"version https://git-lfs", "a Git LFS pointer in place of the file", "run: git lfs pull"),
    (b"<", "an HTML or XML page", "check the address: a login or error page was stored in place of the data"),
    (b"{", "JSON", "write it as CSV or Parquet"),
)
_FIRST_SERVER_ERROR = 500
_PASSING_STATUSES = (408, 425, 429)
_LASTING_ERRORS = (PermissionError, IsADirectoryError, NotADirectoryError, ValueError)  # a bad certificate is the last
_LASTING_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.ENAMETOOLONG)
_PASSING_NAMES = ("Connection", "Timeout", "Disconnected", "PayloadError")  # of aiohttp, botocore, and such
_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".gz": "gzip",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".data": "text",
}


def named_format(path: str) -> str:
    """Return what the suffix of a path or URL says it holds: parquet, gzip, text, or nothing when it says nothing."""
    return _FORMATS.get(_suffix(path), "")


def content_hash(path: str) -> str:
    """Return the SHA-256 of the bytes at a path or URL."""
    with _local_copy(path) as local:
        return sha256_of_file(local)


def read(path: str) -> "tuple[pd.DataFrame, str]":
    """Return the table at a path or URL as it stands there, with the SHA-256 of the bytes that were parsed."""
    with _local_copy(path) as local:
        before = _identity(local)
        digest = sha256_of_file(local)
        frame = _parsed(local, path)
        if _identity(local) != before:
            raise SourceError(f"{path} changed while it was read: wait until it is written, then run again")
    return frame, digest


@contextlib.contextmanager
def _local_copy(path: str) -> Iterator[Path]:
    """Yield a file on this machine with the bytes at `path`: the file itself, or a download.

    A download is removed at the end of the block, or at that of `spool.read_once`, which reads a URL once.
    """
    if path.lower().startswith("file://"):
        path = path[len("file://") :]
    if not _REMOTE.match(path):
        yield _checked(path)
        return
    spooled = spool.folder_of(path)
    if spooled is not None:
        if not (spooled / "download").exists():
            _download(path, spooled / "partial")
            (spooled / "partial").rename(spooled / "download")
        yield spooled / "download"
        return
    with tempfile.TemporaryDirectory(prefix="wine_assets-") as folder:
        local = Path(folder) / "download"
        _download(path, local)
        yield local


def _checked(path: str) -> Path:
    """Return the path of a file that is there, is a regular file and can be read."""
    local = Path(path).expanduser()
    try:
        with local.open("rb"):
            pass
        regular = local.is_file()
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder: name one CSV or Parquet file in it") from None
    except FileNotFoundError:
        raise SourceError(f"There is no file {path} (looked in {Path.cwd()}): check `path`") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{path!r} can't be opened ({_reason(error)}): check `path` and its permissions") from error
    if not regular:
        raise SourceError(f"{path} is not a regular file: name a CSV or Parquet file")
    return local


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__


def _identity(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _download(url: str, local: Path) -> None:
    from fsspec.core import url_to_fs

    try:
        filesystem, remote = url_to_fs(url)
        filesystem.get_file(remote, str(local))
    except FileNotFoundError as error:
        raise SourceError(f"There is no file at {url} (not found, 404): check `path`") from error
    except ImportError as error:
        raise SourceError(f"{url} can't be read: {_missing_package(url, error)}") from error
    except Exception as error:  # every protocol's library has errors of its own
        kind = UnreachableSourceError if _is_passing(error) else SourceError
        raise kind(f"{url} can't be downloaded ({_reason(error)}): check `path` and the network") from error
    if not local.is_file():
        raise SourceError(f"{url} is a folder: name one CSV or Parquet file in it")


def _is_passing(error: Exception) -> bool:
    """Tell trouble on the way, which may be over in a moment, from an answer that would be the same again."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in _PASSING_STATUSES or status >= _FIRST_SERVER_ERROR
    if isinstance(error, OSError):
        return not isinstance(error, _LASTING_ERRORS) and error.errno not in _LASTING_NUMBERS
    return any(word in kind.__name__ for kind in type(error).__mro__ for word in _PASSING_NAMES)


def _missing_package(url: str, error: ImportError) -> str:
    from fsspec.registry import known_implementations

    protocol = re.split(r"::|://", url, maxsplit=1)[0]
    return known_implementations.get(protocol, {}).get("err") or str(error)


def _parsed(local: Path, name: str) -> "pd.DataFrame":
    with local.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    named = named_format(name)
    if named == "parquet" or (head.startswith(_PARQUET) and not named):
        return _parquet(local, name, head)
    if named == "gzip":
        return _gzipped(local, name, head)
    return _text(local, name, head)


def _suffix(name: str) -> str:
    """Return the suffix of a path, or of the path part of a URL."""
    path = re.split(r"[?#]", name, maxsplit=1)[0] if _REMOTE.match(name) else name
    return Path(path).suffix.lower()


def _text(local: Path, name: str, head: bytes) -> "pd.DataFrame":
    from wine_assets.data.readers import csv_dialect

    for magic, what, remedy in _FOREIGN:
        if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(magic):
            raise SourceError(f"{name} isn't delimited text, it is {what}: {remedy}")
    return csv_dialect.read(local, name)


def _gzipped(local: Path, name: str, head: bytes) -> "pd.DataFrame":
    if not head.startswith(_GZIP):
        raise SourceError(f"{name} isn't gzip-compressed, although its name ends in .gz: rename it to what it is")
    with tempfile.TemporaryDirectory(prefix="wine_assets-") as folder:
        plain = Path(folder) / "plain"
        try:
            with gzip.open(local) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file)
        except (EOFError, OSError, zlib.error) as error:
            raise SourceError(f"{name} is damaged or truncated ({_reason(error)}): write it again") from error
        with plain.open("rb") as file:
            return _text(plain, name, file.read(_HEAD_BYTES))


def _parquet(local: Path, name: str, head: bytes) -> "pd.DataFrame":
    from pyarrow import ArrowException

    from wine_assets.data.readers.arrow_tables import frame_of

    if not head:
        raise SourceError(f"{name} holds no rows: the file is empty. Check how it was written")
    if not head.startswith(_PARQUET):
        raise SourceError(
            f"{name} isn't a Parquet file, although its name ends in {_suffix(name)}: it starts with {head[:8]!r}. "
            "Give it the suffix of what it is (.csv for delimited text), or write it as Parquet"
        )
    try:
        return frame_of(_arrow_table(local))
    except (ArrowException, OSError) as error:
        raise SourceError(
            f"{name} is a damaged or truncated Parquet file ({_reason(error)}): copy or write it again"
        ) from error


def _arrow_table(local: Path) -> Any:
    """Read a Parquet file without the columns in which pandas keeps an index."""
    from pyarrow import parquet

    with parquet.ParquetFile(local) as file:
        pandas_metadata = file.schema_arrow.pandas_metadata or {}
        index = {name for name in pandas_metadata.get("index_columns", []) if isinstance(name, str)}
        return file.read(columns=[name for name in file.schema_arrow.names if name not in index])
