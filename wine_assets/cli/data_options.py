"""The options that say where the rows come from and what they mean, as every command that reads rows has them."""

from typing import Annotated, Any

import typer

from wine_assets.cli import job_config

PANEL = "Data"


def _not_empty(value: str | list[str] | None) -> str | list[str] | None:
    """Refuse an empty text: it is an unset variable of a script more often than it is meant."""
    if value is not None and "" in (value if isinstance(value, list) else [value]):
        raise typer.BadParameter("must not be empty")
    return value


def _option(text: str, default: str = "") -> Any:
    return typer.Option(
        help=text, show_default=default or False, rich_help_panel=PANEL, metavar="TEXT", callback=_not_empty
    )


Source = Annotated[str | None, _option("CSV or Parquet file to read, as a path or URL.", "the bundled wine data")]
Query = Annotated[str | None, _option("SQL query that returns the rows; needs a database.")]
Database = Annotated[str | None, _option("SQLAlchemy URL, without a password, for --query.")]
DatabaseVariable = Annotated[str | None, _option("Environment variable with the SQLAlchemy URL, for --query.")]
ClassColumn = Annotated[str | None, _option("Column that holds the classes.", "found by its name")]
FeatureColumns = Annotated[list[str] | None, _option("Column to learn from; repeat it.", "all others")]
NegativeClasses = Annotated[list[str] | None, _option("Class that becomes 0; repeat it.", "0")]


def collect(  # noqa: PLR0913 - the options that there are
    *,
    source: str | None,
    query: str | None,
    database: str | None,
    database_variable: str | None,
    class_column: str | None,
    feature: list[str] | None,
    negative_class: list[str] | None,
) -> job_config.DataOptions:
    """Return what was given, with nothing for what wasn't."""
    return job_config.DataOptions(
        source=source or "",
        query=query or "",
        database=database or "",
        database_variable=database_variable or "",
        class_column=class_column or "",
        features=tuple(feature or ()),
        negative_classes=tuple(negative_class or ()),
    )
