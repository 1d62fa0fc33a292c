import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from wine_assets.compute import deadline, usage
from wine_assets.data.sources import BundledSource, load
from wine_assets_tests.support import session_watchdog
from wine_assets_tests.support.postgres import Postgres, running_postgres


def pytest_configure(config: pytest.Config) -> None:
    """Have all processes of the session ended with it; workers of xdist belong to the session that starts them."""
    if not hasattr(config, "workerinput"):
        session_watchdog.start()


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
