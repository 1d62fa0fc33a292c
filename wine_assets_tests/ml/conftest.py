from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from wine_assets.ml.sources import BundledSource, load
from wine_assets_tests.postgres import Postgres, running_postgres


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
