import re
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from wine_assets.data.sources import BundledSource, FileSource, SqlSource, fingerprint, load
from wine_assets.errors import ConfigurationError

HEAVY = "pandas sklearn pandera pyarrow fsspec sqlalchemy numpy dagster"


def test_the_bundled_source_is_scikit_learns_frame_bit_for_bit() -> None:
    table = load(BundledSource())
    pd.testing.assert_frame_equal(table.frame, load_wine(as_frame=True).frame, check_exact=True)
    assert table.layout == "wine"
    assert table.origin == "the wine data bundled with scikit-learn"


def test_the_bundled_fingerprint_is_that_of_the_loaded_table() -> None:
    assert load(BundledSource()).fingerprint == fingerprint(BundledSource())
    assert re.fullmatch("[0-9a-f]{64}", fingerprint(BundledSource()))


@pytest.mark.process
@pytest.mark.parametrize("source", ["BundledSource()", "FileSource(path='setup.py')"])
def test_a_fingerprint_imports_no_heavy_library(source: str, tmp_path: pytest.TempPathFactory) -> None:
    """An unchanged rerun only asks for fingerprints, and takes no longer than that."""
    script = (
        "import sys; from pathlib import Path; Path('setup.py').write_text('x');"
        f"from wine_assets.data.sources import *; fingerprint({source});"
        f"print([name for name in '{HEAVY}'.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=str(tmp_path))
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "path",
    [
        "https://user:hush@host/wine.csv",
        "https://hush@host/wine.csv",
        "s3://key:hush@bucket/wine.csv",
        "https://host/wine.csv?token=hush",
        "https://host/wine.csv?a=1&X-Amz-Signature=hush",
        "https://host/wine.csv?sig=hush",
        "https://host/wine.csv?client_secret=hush",
        "https://host/wine.csv?key=hush",
        "https://host/wine.csv?apiKey=hush",
        "https://host/wine.csv?X%2DApi%2DKey=hush",
        "https://host/wine.csv#access_token=hush",
        "https://host/wine.csv?next=https%3A%2F%2Fother%3Fcredential%3Dhush",
        "s3://key:hu/hush@bucket/wine.csv",
        "simplecache::https://hush@host/wine.csv",
        "https://[::1]:80/wine.csv?PWD=hush",
    ],
)
def test_a_path_with_credentials_is_refused_without_showing_them(path: str) -> None:
    with pytest.raises(ConfigurationError, match="must not hold credentials") as caught:
        FileSource(path=path)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hush@host/db",
        "postgresql://user:hu/hush@host/db",
        "postgresql://user:hu@hush@host/db",
        "postgresql://host/db?user=u&password=hush",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BUID%3Du%3BPWD%3Dhush",
        "mssql+pyodbc:///?odbc_connect=DRIVER={x};UID=u;Pwd = hush",
    ],
)
def test_a_database_url_with_a_password_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="`url_variable`") as caught:
        SqlSource(query="SELECT 1", url=url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "https://host:8080/a@b.csv",
        "https://host/a.csv?sort_keys=1&monkey=2&year=2020",
        "http://[::1]:8080/a.csv",
        "zip://a.csv::https://host/b.zip",
        "abfs://container@account/a.csv",
        "sftp://user@host/a.csv",
        "/data/token=1/a.csv",
        "C:/a@b.csv",
    ],
)
def test_a_path_without_credentials_is_taken(path: str) -> None:
    assert FileSource(path=path).path == path


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///wine.db",
        "postgresql://user@host:5432/db",
        "sqlite:////a/b@c.db",
        "sqlite:///C:/a@b.db",
        "postgresql://host/db?sslkey=a.key&passfile=.pgpass",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7Bx%7D%3BTrusted_Connection%3Dyes",
    ],
)
def test_a_database_url_without_a_password_is_taken(url: str) -> None:
    assert SqlSource(query="SELECT 1", url=url).url == url


@pytest.mark.parametrize(
    ("fields", "given"), [({}, "neither"), ({"url": "sqlite:///a.db", "url_variable": "DATABASE"}, "both")]
)
def test_a_sql_source_names_exactly_one_database(fields: dict[str, Any], given: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Exactly one of .* got {given}"):
        SqlSource(query="SELECT 1", **fields)


@pytest.mark.parametrize("model", [BundledSource, FileSource, SqlSource])
def test_every_field_says_what_it_means(model: type[FileSource]) -> None:
    assert all(field.description for field in model.model_fields.values())


def test_an_unknown_field_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"source\.class_colum is not known\. Did you mean `class_column`"):
        FileSource(path="a.csv", class_colum="y")  # type: ignore[call-arg]
