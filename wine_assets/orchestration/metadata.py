"""What the UI shows of frames and pictures: schemas, counts, previews and statistics, as Dagster metadata."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

PREVIEW_ROWS = 5


def frame(value: Any) -> dict[str, Any]:
    """Return row count, column schema, the first rows and the statistics of a frame."""
    from wine_assets.data import dataset

    summary = dataset.column_summary(value)
    return {
        "dagster/row_count": len(value),
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(row["column"], type=row["dtype"]) for row in summary]),
        "preview": table(value.columns, value.head(PREVIEW_ROWS).itertuples(index=False)),
        "statistics": table(summary[0], (row.values() for row in summary)),
    }


def table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table."""
    names = [str(name) for name in header]
    lines = [names, ["---"] * len(names), *([_cell(cell) for cell in row] for row in rows)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def mapping(values: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table of names and values."""
    return table(("name", "value"), values.items())


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """Return a picture that the UI shows, held by the metadata itself."""
    from wine_assets.reports.evaluation_page import data_uri

    return dg.MetadataValue.md(f"![{title}]({data_uri(png)})")


def class_counts(labels: Any) -> dict[str, int]:
    """Return how many rows each class has, by its label as text, in the labels' order."""
    counts: Mapping[Any, Any] = labels.value_counts().sort_index()
    return {str(label): int(count) for label, count in counts.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
