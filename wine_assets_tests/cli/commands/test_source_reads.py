from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa

from wine_assets_tests.support.command_line import called

ROWS = "ash,target\n1.0,a\n,b\n2.0,a\n3.0,b\n"
"""Rows that a check refuses, so that a run ends once it has read them."""
REFUSED = "`ash` has 1 missing (NaN) value"
QUERY = "select ash, target from wine order by rowid"

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[tuple[str, Counter[str]]]:
    """The URL of a file, and how often it was downloaded."""
    counts: Counter[str] = Counter()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            counts["GET"] += 1
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    (tmp_path / "wine.csv").write_text(ROWS)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/wine.csv", counts
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", [["run"], ["search", "--trials", "1"]], ids=["run", "search"])
def test_url_is_downloaded_once(downloads: tuple[str, Counter[str]], command: list[str]) -> None:
    """Planning and the step that follows share one download."""
    url, counts = downloads
    ended = called(*command, "--source", url)
    assert REFUSED in ended.out + ended.err
    assert counts["GET"] == 1


def test_query_runs_once(tmp_path: Path) -> None:
    """Planning and the step that follows share the rows of one query."""
    database = f"sqlite:///{tmp_path}/wine.db"
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table wine (ash real, target text)")
        for line in ROWS.splitlines()[1:]:
            ash, target = line.split(",")
            connection.exec_driver_sql("insert into wine values (?, ?)", (float(ash) if ash else None, target))
    engine.dispose()
    statements: list[str] = []

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        ended = called("run", "--query", QUERY, "--database", database)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
    assert REFUSED in ended.out + ended.err
    assert statements.count(QUERY) == 1
