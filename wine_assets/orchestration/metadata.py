"""What the UI shows of the values of assets, as Dagster metadata."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from wine_assets.release.publishing import Release
    from wine_assets.reports.evaluation_report import Review
    from wine_assets.search.result import SearchResult

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


def review(value: "Review", page: Path) -> dict[str, Any]:
    """Return the figures and the picture of a model's evaluation, and where its report lies."""
    return {
        "figures": table(*value.figures()),
        "picture": picture(value.picture, "Evaluation on held-out rows"),
        "report": dg.MetadataValue.path(str(page)),
        **value.evaluation.metrics,
        "metrics": value.evaluation.metrics,
        "reference_metrics": value.reference.metrics,
    }


def release(value: "Release") -> dict[str, Any]:
    """Return the version that a release made champion, and where its repository lies."""
    return {
        "version": value.promotion.version,
        "champion": mapping(value.summary()),
        "repository": dg.MetadataValue.path(str(value.folder)),
    }


def search(value: "SearchResult", outer_scores: Sequence[float], drawing: bytes, page: Path) -> dict[str, Any]:
    """Return the course of a search, its best trials, the scores of outer folds if any, and where its report lies."""
    from wine_assets.search.result import spread

    summary = value.summary()
    return {
        "picture": picture(drawing, "The search"),
        "report": dg.MetadataValue.path(str(page)),
        **frame(value.table()),
        **{name: summary[name] for name in ("trials", "finished", "pruned", "failed", "seconds_of_trials")},
        "best": summary["best"],
        "simplest": summary["simplest"],
        "best_score": summary["best"]["mean"],
        "best_standard_error": summary["best"]["standard_error"],
        "metric": summary["metric"],
        **({"nested": spread(outer_scores)} if outer_scores else {}),
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
