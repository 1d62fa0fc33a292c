"""Sources of rows: the bundled wine data, a file at a path or URL, a SQL query."""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from wine_assets.config import StrictModel
from wine_assets.data.readers import credentials
from wine_assets.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

VERSION = "3"
Layout = Literal["wine", "table"]

_CLASS_COLUMN = (
    "Name of the column that holds the class of each row. Default: empty, which finds a column with a well-known "
    "name such as target, class, label, wine or customer_segment, and recognizes the wine data in any of its "
    "published layouts. A name given here is taken literally: the labels are used as they are."
)
_FEATURES = (
    "Names of the columns to learn from, in this order. Default: empty, which takes every column but the class "
    "column, and but those that number the rows and are named so (id, index, nr, wine_id), in the order of the source."
)


class _Source(StrictModel):
    """What every source has in common: a run config calls it `source`."""

    config_path: ClassVar[str] = "source"


class BundledSource(_Source):
    """The wine data that scikit-learn ships: 178 rows, 13 features, `target` in {0, 1, 2}."""

    kind: Literal["bundled"] = Field(default="bundled", description="Which source this is: the bundled wine data.")


class _TableSource(_Source):
    """What a table that anybody may bring has in common: columns that have to be told apart."""

    class_column: str = Field(default="", description=_CLASS_COLUMN)
    features: list[str] = Field(default=[], description=_FEATURES)


class FileSource(_TableSource):
    """A CSV or Parquet file, on this machine or behind any protocol that fsspec speaks."""

    kind: Literal["file"] = Field(default="file", description="Which source this is: a file.")
    path: str = Field(
        min_length=1,
        description="Path or URL of a CSV (also .csv.gz) or Parquet file, for example wine.csv, "
        "https://host/wine.parquet or s3://bucket/wine.csv; without credentials in it. No default.",
    )

    @field_validator("path")
    @classmethod
    def _holds_no_secret(cls, path: str) -> str:
        if credentials.in_file_url(path):
            raise ConfigurationError(  # not a ValueError: pydantic would print the value beside it
                "`path` must not hold credentials, because configurations end up in run records and logs. "
                "Give the URL without them (fsspec takes them from its own configuration files), "
                "or download the file and give its path."
            )
        return path


class SqlSource(_TableSource):
    """The rows that a SQL query returns, read through SQLAlchemy, which never changes the database."""

    kind: Literal["sql"] = Field(default="sql", description="Which source this is: a SQL query.")
    query: str = Field(
        min_length=1,
        description="One SELECT statement; add ORDER BY, because the order of rows is part of their fingerprint. "
        "No default.",
    )
    url: str = Field(
        default="",
        description="SQLAlchemy URL of the database, for example sqlite:///wine.db, without a password. "
        "Default: empty. Give exactly one of `url` and `url_variable`.",
    )
    url_variable: str = Field(
        default="",
        description="Name of the environment variable that holds the SQLAlchemy URL, which may have a password "
        "in it. Default: empty. Give exactly one of `url` and `url_variable`.",
    )

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        if credentials.in_database_url(url):
            raise ConfigurationError(  # not a ValueError: pydantic would print the value beside it
                "`url` must not hold a password, because configurations end up in run records and logs. "
                "Put the whole URL into an environment variable and give that variable's name as `url_variable`."
            )
        return url

    @model_validator(mode="after")
    def _names_one_database(self) -> "SqlSource":
        if bool(self.url) == bool(self.url_variable):
            given = "both" if self.url else "neither"
            raise ConfigurationError(
                f"Exactly one of `source.url` and `source.url_variable` must be given, got {given}. "
                "Use `url_variable` when the URL has a password, `url` otherwise."
            )
        return self


Source = BundledSource | FileSource | SqlSource


@dataclass(frozen=True)
class Table:
    """Rows as they were read: features first, in order; the class column last and named `target`."""

    frame: "pd.DataFrame"
    fingerprint: str
    origin: str
    layout: Layout
    indexes: tuple[str, ...] = ()
    """The columns that were left out because they number the rows."""


def fingerprint(source: Source) -> str:
    """Return a hash of the content of `source` as 64 hexadecimal digits, without parsing it.

    Equal fingerprints mean equal rows. The bundled data's comes from scikit-learn's version, a file's from its
    bytes and the format that its suffix names, a query's from the names and rows it returns, in their order (so a
    query needs ORDER BY).
    Raises SourceError when the source can't be read, UnreachableSourceError when trying again may help.
    """
    if isinstance(source, BundledSource):
        return _bundled_fingerprint()
    if isinstance(source, FileSource):
        from wine_assets.data.readers import table_file

        return _combined(source, table_file.content_hash(source.path), table_file.named_format(source.path))
    from wine_assets.data.readers import sql_query

    return _combined(source, sql_query.content_hash(source.query, _database_url(source)))


def load(source: Source) -> Table:
    """Read `source`; the fingerprint of the table is that of the very content that was parsed.

    Raises SourceError in one sentence when the rows can't be read, whatever the reason.
    """
    if isinstance(source, BundledSource):
        return _bundled()
    if isinstance(source, FileSource):
        return _from_file(source)
    return _from_sql(source)


def _bundled_fingerprint() -> str:
    version = importlib.metadata.version("scikit-learn")
    return hashlib.sha256(f"sklearn.datasets.load_wine, scikit-learn {version}".encode()).hexdigest()


def _bundled() -> Table:
    from sklearn.datasets import load_wine

    frame = load_wine(as_frame=True).frame
    return Table(frame, _bundled_fingerprint(), "the wine data bundled with scikit-learn", "wine")


def _from_file(source: FileSource) -> Table:
    from wine_assets.data.columns import assign_columns
    from wine_assets.data.readers import table_file

    raw, content_hash = table_file.read(source.path)
    frame, layout, indexes = assign_columns(raw, source.class_column, source.features, source.path)
    return Table(
        frame,
        _combined(source, content_hash, table_file.named_format(source.path)),
        f"the file {source.path}",
        layout,
        tuple(indexes),
    )


def _from_sql(source: SqlSource) -> Table:
    from wine_assets.data.columns import assign_columns
    from wine_assets.data.readers import sql_query

    url = _database_url(source)
    raw, content_hash = sql_query.read(source.query, url)
    database = sql_query.public_name(url)
    frame, layout, indexes = assign_columns(raw, source.class_column, source.features, f"The query on {database}")
    return Table(frame, _combined(source, content_hash), f"a query on {database}", layout, tuple(indexes))


def _combined(source: FileSource | SqlSource, content_hash: str, named_format: str = "") -> str:
    """Hash what was read together with what decides how it is understood."""
    parts = json.dumps([source.kind, content_hash, named_format, source.class_column, source.features])
    return hashlib.sha256(parts.encode()).hexdigest()


def _database_url(source: SqlSource) -> str:
    if source.url:
        return source.url
    from wine_assets import settings

    return settings.variable(source.url_variable)
