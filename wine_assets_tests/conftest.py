import contextlib
import os
import resource
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from wine_assets.compute import deadline, usage
from wine_assets.data.sources import BundledSource, load
from wine_assets_tests.support import session_watchdog
from wine_assets_tests.support.postgres import Postgres, running_postgres
from wine_assets_tests.support.process_guard import no_process

TESTS = Path(__file__).parent
PROCESS_FOLDERS = ("browser", "cli/commands", "end_to_end", "release", "serving")
"""Where every test starts a process."""
PROCESS_FIXTURES = frozenset({"interpreter", "pipeline", "postgres", "reference", "run_program", "untouched"})
"""What starts a process, or is there to start one."""
SHARED_SERVERS = frozenset({"postgres"})
"""Servers of which a session needs one: all tests that use it run on one worker of xdist."""


def pytest_configure(config: pytest.Config) -> None:
    """Have all processes of the session ended with it; workers of xdist belong to the session that starts them."""
    if not hasattr(config, "workerinput"):
        session_watchdog.start()


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes by its folder and fixtures, and keep tests that share a server on one worker."""
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())}
        folder = item.path.parent.relative_to(TESTS).as_posix()
        if fixtures & PROCESS_FIXTURES or folder.startswith(PROCESS_FOLDERS):
            item.add_marker("process")
        for fixture in sorted(fixtures & SHARED_SERVERS):
            item.add_marker(pytest.mark.xdist_group(fixture))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Fail a test whose fixtures start a process and that isn't marked so: it would be part of `make quick`."""
    with _process_guard(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test that starts a process and isn't marked so; its teardown may end the session's servers."""
    with _process_guard(item):
        yield


def _process_guard(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if item.get_closest_marker("process") else no_process()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def bundled() -> pd.DataFrame:
    return load(BundledSource()).frame


@pytest.fixture
def uci(tmp_path: Path, bundled: pd.DataFrame) -> Path:
    """Write a file in UCI's layout: no header, class 1 to 3 first."""
    path = tmp_path / "wine.data"
    frame = bundled.assign(target=bundled["target"] + 1)
    frame[["target", *bundled.columns[:-1]]].to_csv(path, header=False, index=False)
    return path


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """Limits, timers, handlers and variables are after the test as they were before."""
    before = _state()
    yield
    assert _state() == before


def _state() -> tuple[object, ...]:
    return (
        signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        signal.getsignal(signal.SIGALRM),
        resource.getrlimit(resource.RLIMIT_DATA),
        pa.default_memory_pool().backend_name,
        deadline._ends[:],
        usage._HighWater.active[:],
        {name: value for name, value in os.environ.items() if name.endswith(("_NUM_THREADS", "_MEMORY_POOL"))},
    )
