import builtins
import gc
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine, text

from wine_assets.data.readers import sql_query
from wine_assets.data.sources import SqlSource, Table, fingerprint, load
from wine_assets.errors import MissingExtraError, SettingsError, SourceError, UnreachableSourceError, WineAssetsError
from wine_assets_tests.support.postgres import PASSWORD, Postgres

ALL_WINES = 'SELECT * FROM wine ORDER BY "nr"'


@pytest.fixture
def sqlite(tmp_path: Path, bundled: pd.DataFrame) -> str:
    """Make an SQLite database with the wine data in a table `wine`, numbered by `nr`."""
    path = tmp_path / "cellar.db"
    filled(f"sqlite:///{path}", bundled)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def server(postgres: Postgres, bundled: pd.DataFrame) -> Postgres:
    """PostgreSQL with the same table, and a sequence."""
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    filled(url, bundled)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SEQUENCE counter"))
    engine.dispose()
    return postgres


@pytest.fixture
def database(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a variable that holds PostgreSQL's URL, password included."""
    monkeypatch.setenv("CELLAR_URL", server.url)
    return "CELLAR_URL"


def filled(url: str, frame: pd.DataFrame) -> None:
    engine = create_engine(url)
    frame.rename(columns={"od280/od315_of_diluted_wines": "od280"}).to_sql("wine", engine, index_label="nr")
    engine.dispose()


def rows_of(url: str, query: str, **fields: Any) -> Table:
    return load(SqlSource(url=url, query=query, **fields))


def refusal(query: str, **fields: Any) -> str:
    with pytest.raises(SourceError) as caught:
        load(SqlSource(query=query, **fields))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_a_query_on_sqlite_gives_scikit_learns_frame(sqlite: str, bundled: pd.DataFrame) -> None:
    table = rows_of(sqlite, ALL_WINES)
    pd.testing.assert_frame_equal(table.frame, bundled, check_exact=True)
    assert table.layout == "wine"
    assert table.origin == f"a query on {sqlite}"


def test_a_query_on_postgres_gives_scikit_learns_frame(database: str, bundled: pd.DataFrame) -> None:
    table = load(SqlSource(query=ALL_WINES, url_variable=database))
    pd.testing.assert_frame_equal(table.frame, bundled, check_exact=True)
    assert PASSWORD not in table.origin
    assert "127.0.0.1" in table.origin


def test_the_fingerprint_is_that_of_the_rows(database: str) -> None:
    source = SqlSource(query=ALL_WINES, url_variable=database)
    same = SqlSource(query="SELECT * FROM (TABLE wine) AS again ORDER BY nr", url_variable=database)
    fewer = SqlSource(query=f"{ALL_WINES} LIMIT 177", url_variable=database)
    assert load(source).fingerprint == fingerprint(source) == fingerprint(same) != fingerprint(fewer)


def test_the_fingerprint_follows_names_and_order(sqlite: str) -> None:
    queries = ["SELECT 1 AS a, 2 AS label", "SELECT 1 AS b, 2 AS label", "SELECT 2 AS a, 1 AS label", ALL_WINES]
    assert len({fingerprint(SqlSource(query=query, url=sqlite)) for query in [*queries, f"{ALL_WINES} DESC"]}) == 5


def test_values_and_types_in_the_fingerprint(sqlite: str) -> None:
    """Rows that differ in a value, a missing value, a type or where a text ends have different fingerprints."""
    tables = [
        *("1", "2", "NULL", "1.0", "'1'", "x'31'", "'a'", "'ab'", "'abc'"),
        *("'a'), ('bc'", "'ab'), ('c'", "NULL), ('abc'", "'abc'), (NULL", "1), (1", "1), (NULL"),
    ]
    queries = [f"VALUES ({table})" for table in tables]
    assert len({sql_query.content_hash(query, sqlite) for query in queries}) == len(queries)


def test_names_in_the_fingerprint(sqlite: str) -> None:
    """Equal rows have equal fingerprints, unless a column's name differs."""
    first, again, renamed = "SELECT 1 AS a, NULL AS b", "SELECT 2 - 1 AS a, NULL AS b", "SELECT 1 AS a, NULL AS c"
    assert sql_query.content_hash(first, sqlite) == sql_query.content_hash(again, sqlite)
    assert sql_query.content_hash(first, sqlite) != sql_query.content_hash(renamed, sqlite)


def test_batches_in_the_fingerprint(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows have one fingerprint in batches of any size, also where batches alone would have other types."""
    rows = ["(1, NULL, 'a', NULL)", "(2, NULL, NULL, NULL)", "(3.5, 7, '', NULL)", "(4, NULL, 'bc', NULL)"]
    query = f"VALUES {', '.join(rows * 5)}"
    hashes = set()
    for size in (1, 2, 3, 8, 20):
        monkeypatch.setattr(sql_query, "_BATCH_ROWS", size)
        hashes |= {sql_query.content_hash(query, sqlite), sql_query.read(query, sqlite)[1]}
    assert len(hashes) == 1


def test_many_rows_are_read_in_batches(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns have the kind of all batches together: here, the first has no fraction, the next no value."""
    monkeypatch.setattr(sql_query, "_BATCH_ROWS", 10)
    query = (
        "SELECT n AS counted, CASE WHEN n <= 10 THEN 1 WHEN n <= 20 THEN NULL ELSE n / 2.0 END AS halved, "
        "'red' AS label FROM generate_series(1, 35) AS n ORDER BY n"
    )
    frame = load(SqlSource(query=query, url_variable=database)).frame
    assert frame["counted"].tolist() == list(range(1, 36))
    assert frame["halved"].isna().sum() == 10
    assert frame["halved"].iloc[34] == 17.5


def test_percent_signs_and_colons_belong_to_the_query(database: str) -> None:
    query = (
        "SELECT n::float8 AS x, 'a%b:c' AS label FROM generate_series(1, 9) AS n WHERE 'a%b' LIKE 'a%' AND n % 2 = 0"
    )
    frame = load(SqlSource(query=query, url_variable=database)).frame
    assert frame["x"].tolist() == [2, 4, 6, 8]
    assert set(frame["target"]) == {"a%b:c"}


def test_bytes_are_fingerprinted_by_their_content(database: str) -> None:
    source = SqlSource(query=r"SELECT '\xff00'::bytea AS x, 1 AS label", url_variable=database)
    assert fingerprint(source) == fingerprint(source)


CHANGES = [
    "DELETE FROM wine",
    "DELETE FROM wine RETURNING nr",
    "INSERT INTO wine (nr) VALUES (999) RETURNING nr",
    "UPDATE wine SET nr = nr + 1 RETURNING nr",
    "DROP TABLE wine",
    "(-- SELECT\n /* SELECT */ DROP TABLE wine)",
    "/* /* */ SELECT */ DROP TABLE wine",
    "-- \rSELECT 1\nDROP TABLE wine",
    "CREATE TABLE other AS SELECT * FROM wine",
    "COMMIT",
    "",
    "SELECT 1; DROP TABLE wine",
    "SELECT 1; COMMIT; DROP TABLE wine",
    "SELECT * INTO other FROM wine",
    "WITH gone AS (DELETE FROM wine RETURNING nr) SELECT * FROM gone",
    "WITH few AS (SELECT 1 AS nr) DELETE FROM wine WHERE nr IN (SELECT nr FROM few) RETURNING nr",
    "WITH few AS (SELECT 999 AS nr) INSERT INTO wine (nr) SELECT nr FROM few RETURNING nr",
]
ON_POSTGRES = ["SELECT nextval('counter') AS x, 1 AS label"]
ON_SQLITE = ["PRAGMA user_version = 7", "/**/ pragma journal_mode = wal", "VACUUM", "ATTACH 'other.db' AS other"]


@pytest.mark.parametrize("attempt", [load, fingerprint])
@pytest.mark.parametrize("statement", [*(change for change in CHANGES if change), *ON_POSTGRES])
def test_a_query_that_would_change_postgres_is_refused_and_changes_nothing(
    statement: str, attempt: Callable[[SqlSource], Any], database: str, server: Postgres
) -> None:
    engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))
    state = text(
        "SELECT (SELECT count(*) || '/' || sum(nr) FROM wine), (SELECT is_called FROM counter), "
        "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
    )
    with pytest.raises(SourceError, match="must be one SELECT"):
        attempt(SqlSource(query=statement, url_variable=database))
    with engine.connect() as connection:
        assert connection.execute(state).one() == ("178/15753", False, 1)
    engine.dispose()


@pytest.mark.parametrize("attempt", [load, fingerprint])
@pytest.mark.parametrize("statement", [*(change for change in CHANGES if change), *ON_SQLITE])
def test_a_query_that_would_change_sqlite_is_refused_and_changes_no_byte(
    statement: str, attempt: Callable[[SqlSource], Any], sqlite: str, tmp_path: Path
) -> None:
    before = (tmp_path / "cellar.db").read_bytes()
    with pytest.raises(SourceError, match="must be one SELECT"):
        attempt(SqlSource(query=statement, url=sqlite))
    assert (tmp_path / "cellar.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cellar.db"]


@pytest.mark.parametrize("statement", [change for change in CHANGES if not change.startswith(("SELECT", "WITH"))])
def test_what_is_no_query_is_refused_before_any_database_is_opened(statement: str) -> None:
    with pytest.raises(SourceError, match="and was not run: it must be one SELECT"):
        sql_query.content_hash(statement, "sqlite:///absent.db")


@pytest.mark.parametrize(
    "query",
    [
        "  -- the wines\r\n/* all; of\nthem */ (select * from wine)",
        "(SELECT * FROM wine)",
        "With red AS (SELECT * FROM wine) SELECT * FROM red",
        "table wine",
        "SELECT*FROM wine;",
        "VALUES (1, 2)",
    ],
)
def test_a_query_may_start_in_every_way_that_only_reads(query: str, database: str) -> None:
    assert fingerprint(SqlSource(query=query, url_variable=database))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELEC 1", "`query` starts with 'SELEC' and was not run"),
        ("SELECT FROM FROM wine", 'syntax error at or near "FROM"'),
        ("SELECT * FROM absent", 'relation "absent" does not exist'),
        ("SELECT 1 / (n - 5) AS x, 1 AS label FROM generate_series(1, 9) AS n", "division by zero"),
        ("SELECT * FROM wine WHERE nr < 0", "returns no rows: check its WHERE clause"),
        ("SELECT 1 AS x, 2 AS x, 3 AS label", "more than one column named `x`"),
        ("SELECT 1 AS x, 2 AS y", "no class column was found among `x`, `y`"),
        ("SELECT 1 AS label", "no column but the class column"),
    ],
)
def test_a_query_that_cant_be_used_is_refused_in_one_sentence(query: str, expected: str, database: str) -> None:
    assert expected in refusal(query, url_variable=database)


@pytest.mark.parametrize("other", ["'a'", "x'00'"])
def test_a_column_of_mixed_types_is_refused(other: str, sqlite: str) -> None:
    query = f"SELECT 1 AS x, 1 AS label UNION ALL SELECT {other}, 1"
    assert "The column `x` of the query mixes types" in refusal(query, url=sqlite)


def test_a_column_whose_type_changes_between_batches_is_refused(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_query, "_BATCH_ROWS", 1)
    query = "SELECT 1 AS x, 1 AS label UNION ALL SELECT 'a', 2"
    assert "changes its type between rows" in refusal(query, url=sqlite)


def test_a_refused_connection_is_one_sentence_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("CELLAR_URL", f"postgres://me:hush@127.0.0.1:{port}/db")
    message = refusal("SELECT 1", url_variable="CELLAR_URL")
    assert f"postgresql://127.0.0.1:{port}/db can't be connected to" in message
    assert "onnection refused" in message
    assert "hush" not in message


def test_a_refused_connection_is_worth_another_attempt_and_a_wrong_password_is_not(server: Postgres) -> None:
    elsewhere = server.url.replace(f":{server.port}/", ":1/")
    with pytest.raises(UnreachableSourceError, match="onnection refused"):
        sql_query.content_hash("SELECT 1", elsewhere)
    for url in (server.url.replace(PASSWORD, "hush"), f"{server.url}_absent", "sqlite:///absent.db"):
        with pytest.raises(SourceError) as caught:
            sql_query.content_hash("SELECT 1", url)
        assert type(caught.value) is SourceError


# SQLAlchemy leaves the cursor of a lost connection to the garbage collector, and psycopg warns of that.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
def test_a_connection_lost_during_the_query_is_worth_another_attempt(database: str) -> None:
    source = SqlSource(query="SELECT pg_terminate_backend(pg_backend_pid()), 1 AS label", url_variable=database)
    with pytest.raises(UnreachableSourceError, match="closed the connection during the query"):
        load(source)
    gc.collect()


def test_a_wrong_password_is_one_sentence_without_it(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLAR_URL", server.url.replace(PASSWORD, "hush"))
    message = refusal("SELECT 1", url_variable="CELLAR_URL")
    assert "password authentication failed" in message
    assert "hush" not in message


@pytest.mark.parametrize("url", ["hush", "postgresql://u:hush@host:notaport/db", "://hush"])
def test_a_url_that_isnt_one_is_refused_without_showing_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLAR_URL", url)
    message = refusal("SELECT 1", url_variable="CELLAR_URL")
    assert "can't be understood" in message
    assert "hush" not in message


def test_a_variable_that_isnt_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLAR_URL", raising=False)
    with pytest.raises(SettingsError, match="CELLAR_URL is not set"):
        load(SqlSource(query="SELECT 1", url_variable="CELLAR_URL"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///absent.db", "There is no SQLite database absent.db"),
        ("nosuch://host/db", "SQLAlchemy knows no database `nosuch`"),
        ("mysql+pymysql://host/db", "needs a Python driver that isn't installed"),
    ],
)
def test_a_database_that_cant_be_opened_is_refused(
    url: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refusal("SELECT 1", url=url)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"x" * 5000)
    assert "file is not a database" in refusal("SELECT * FROM wine", url=f"sqlite:///{tmp_path}/a.db")


def test_a_database_in_memory_needs_no_file() -> None:
    assert len(rows_of("sqlite://", "SELECT 1 AS x, 2 AS label").frame) == 1


def test_a_database_uri_is_left_to_sqlite(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.db").close()
    assert len(rows_of(f"sqlite:///file:{tmp_path}/a.db?uri=true&mode=ro", "SELECT 1 AS x, 2 AS label").frame) == 1


def test_a_missing_driver_for_postgres_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_psycopg(name: str, *args: Any) -> Any:
        if name == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_psycopg)
    with pytest.raises(MissingExtraError, match=r"wine-assets\[postgres\]") as caught:
        load(SqlSource(query="SELECT 1", url="postgresql://host/db"))
    assert isinstance(caught.value, WineAssetsError)
