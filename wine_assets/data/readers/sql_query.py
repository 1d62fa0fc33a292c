"""The rows that a SQL query returns, through SQLAlchemy."""

import contextlib
import hashlib
import itertools
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wine_assets.data.readers import spool
from wine_assets.errors import MissingExtraError, SourceError, UnreachableSourceError

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS = 20_000
_CONNECT_TIMEOUT_S = 10
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_READING = ("SELECT", "WITH", "VALUES", "TABLE")
# Neither MySQL's comments that are run (/*! and /*M!) nor nested ones, nor lines that only some databases end at a CR:
# what one of them hides from this expression, a database might run.
_BLANK = r"(?:\s|\(|--[^\r\n]*\r?\n|/\*(?!M?!)(?:(?!/\*|\*/).)*\*/)*+"
_FIRST_WORD = re.compile(_BLANK + r"(?P<word>[\w$]*)", re.DOTALL)
_CONNECTION_TROUBLE = re.compile(
    r"refused|timed? ?out|unreachable|no route to host|can't connect|could not connect|reset by peer|broken pipe|"
    r"closed the connection|closed unexpectedly|lost connection|gone away|translate host name|resolve|"
    r"name or service not known|name resolution|starting up|shutting down|too many (clients|connections)|"
    r"connection slots",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"authentication failed|access denied|login failed|does not exist|pg_hba", re.IGNORECASE)
_Batch = tuple[list[str], list[tuple[Any, ...]]]


def content_hash(query: str, url: str) -> str:
    """Return a hash of the column names, types and rows of the query, in the order in which they come.

    A database may return the rows of one query in another order each time: add ORDER BY. Within `spool.read_once` the
    rows are kept, and `read` returns these.
    """
    table = _arrow_table(query, url)
    digest = _hash(table)
    folder = spool.folder_of(f"{url} {query}")
    if folder is not None:
        _write(table, folder / "rows.arrow")
        (folder / "sha256").write_text(digest)
    return digest


def read(query: str, url: str) -> "tuple[pd.DataFrame, str]":
    """Return the rows of the query, with the hash of these very rows."""
    from wine_assets.data.readers.arrow_tables import frame_of

    folder = spool.folder_of(f"{url} {query}")
    if folder is not None and (folder / "sha256").exists():
        return frame_of(_read(folder / "rows.arrow")), (folder / "sha256").read_text()
    tables = [_arrow_table(query, url)]
    digest = _hash(tables[0])
    return frame_of(tables.pop()), digest  # popped, because frame_of frees the columns that nobody else holds


def public_name(url: str) -> str:
    """Return the URL of a database as it may be shown: without user, password and options."""
    parsed = _parsed_url(url)
    host = f"{parsed.host}:{parsed.port}" if parsed.port else parsed.host or ""
    return f"{parsed.get_backend_name()}://{host}/{parsed.database or ''}"


def _arrow_table(query: str, url: str) -> Any:
    """Return the rows of all batches as one table, whose columns have the types of all batches together."""
    import pyarrow as pa

    with contextlib.closing(_batches(query, url)) as batches:  # closes the connection also where a batch is refused
        tables = [_batch_table(*batch) for batch in batches]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise SourceError(
            f"A column of the query changes its type between rows ({_reason(error)}): use CAST in `query`"
        ) from error


def _hash(table: Any) -> str:
    """Hash names and types, then each column's Arrow buffers: the length of a buffer before its bytes.

    The chunks of a column are combined first, one column at a time, so that batches of another size hash alike.
    """
    digest = hashlib.sha256(repr([(field.name, str(field.type)) for field in table.schema]).encode())
    digest.update(table.num_rows.to_bytes(8, "little"))
    for place in range(table.num_columns):
        column = table.select([place]).combine_chunks().column(0)
        for buffer in itertools.chain.from_iterable(chunk.buffers() for chunk in column.chunks):
            digest.update(b"no buffer" if buffer is None else buffer.size.to_bytes(8, "little"))
            digest.update(buffer or b"")
    return digest.hexdigest()


def _batches(query: str, url: str) -> Generator[_Batch]:
    """Yield column names and rows, at least one batch of at least one row, and leave the database as it was."""
    from sqlalchemy.exc import SQLAlchemyError

    _check_first_word(query)
    with _connection(url) as connection:
        try:
            yield from _fetched(_read_only(connection), query, public_name(url))
        except SQLAlchemyError as error:
            raise _query_error(public_name(url), error) from error
        finally:
            connection.rollback()


def _check_first_word(query: str) -> None:
    """Refuse what doesn't start as a query does, because a rollback doesn't undo everything on every database."""
    found = _FIRST_WORD.match(query)
    if found is None or found["word"].upper() not in _READING:
        start = query[found.start("word") if found else 0 :].split(maxsplit=1)
        raise SourceError(
            f"`query` starts with {' '.join(start[:1])[:30]!r} and was not run: it must be one SELECT statement "
            f"(which may also start with {', '.join(_READING[1:])})"
        )


def _read_only(connection: Any) -> Any:
    """Have the database itself refuse every change, where it knows how to."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    if connection.dialect.name == "postgresql":
        return connection.execution_options(postgresql_readonly=True)
    return connection


def _query_error(name: str, error: Exception) -> SourceError:
    if getattr(error, "connection_invalidated", False):
        return UnreachableSourceError(f"{name} closed the connection during the query ({_reason(error)}): run it again")
    return SourceError(f"{name} refused the query ({_reason(error)}): check `query`, which must be one SELECT")


def _fetched(connection: Any, query: str, name: str) -> Iterator[_Batch]:
    options = {"stream_results": True, "no_parameters": True}
    result = connection.execution_options(**options).exec_driver_sql(query)
    if not result.returns_rows:
        raise SourceError(f"The query on {name} returns no table: `query` must be one SELECT statement")
    names = list(map(str, result.keys()))
    empty = True
    for rows in result.partitions(_BATCH_ROWS):
        empty = False
        yield names, [tuple(row) for row in rows]
    if empty:
        raise SourceError(f"The query on {name} returns no rows: check its WHERE clause, or fill the table first")


@contextlib.contextmanager
def _connection(url: str) -> Iterator[Any]:
    from sqlalchemy.exc import SQLAlchemyError

    engine = _engine(url)
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise _connection_error(public_name(url), _reason(error)) from error
    try:
        with connection:
            yield connection
    finally:
        engine.dispose()


def _connection_error(name: str, reason: str) -> SourceError:
    """Tell trouble on the way to the database from its answer that this user or database won't do."""
    passing = _CONNECTION_TROUBLE.search(reason) and not _ANSWER.search(reason)
    kind = UnreachableSourceError if passing else SourceError
    return kind(f"{name} can't be connected to ({reason}): check that the database runs and the URL")


def _engine(url: str) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError
    from sqlalchemy.pool import NullPool

    parsed = _parsed_url(url)
    _check_sqlite_file(parsed)
    backend = parsed.get_backend_name()
    arguments = {"connect_timeout": _CONNECT_TIMEOUT_S} if backend == "postgresql" else {}
    try:
        return create_engine(parsed, poolclass=NullPool, connect_args=arguments)
    except NoSuchModuleError as error:
        raise SourceError(f"SQLAlchemy knows no database `{parsed.drivername}`: check the start of the URL") from error
    except ImportError as error:
        if backend == "postgresql":
            raise MissingExtraError("postgres", "A SQL source on PostgreSQL") from error
        raise SourceError(f"A {backend} database needs a Python driver that isn't installed ({error})") from error


def _parsed_url(url: str) -> Any:
    """Parse a database URL; its text is never shown, because it may hold a password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SourceError(
            "The database URL can't be understood (it isn't shown, it may hold a password): "
            "expected DIALECT://USER:PASSWORD@HOST:PORT/DATABASE, for example sqlite:///wine.db"
        ) from None
    return parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))


def _check_sqlite_file(url: Any) -> None:
    """Refuse a database file that isn't there, because SQLite would create it."""
    database = url.database or ""
    if url.get_backend_name() != "sqlite" or database.startswith("file:"):
        return
    if database in ("", ":memory:") or Path(database).is_file():
        return
    raise SourceError(f"There is no SQLite database {database} (looked in {Path.cwd()}): check `url`")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def _batch_table(names: list[str], rows: list[tuple[Any, ...]]) -> Any:
    import pyarrow as pa

    doubles = [name for name in names if names.count(name) > 1]
    if doubles:
        raise SourceError(f"The query returns more than one column named `{doubles[0]}`: rename one with AS")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return pa.table([_array(name, values) for name, values in columns], names=names)


def _write(table: Any, path: Path) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read(path: Path) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _array(name: str, values: tuple[Any, ...]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=False)
    except (pa.ArrowException, OverflowError) as error:
        raise SourceError(
            f"The column `{name}` of the query mixes types, such as numbers with text: "
            f"use CAST({name} AS ...) in `query`"
        ) from error
