"""The evaluation as one self-contained HTML page."""

import base64
import html
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

from wine_assets.evaluation.cross_validation import METRICS, Evaluation

METRICS_HEADER = ("metric", "this model", "over folds ±", "reference")

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Wine model evaluation</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #111827; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #e5e7eb; padding: .35rem .9rem; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
</style>
</head>
<body>
<h1>Wine model evaluation</h1>
<p>$summary</p>
$metrics
<img alt="Confusion matrix, calibration, ROC curve and permutation importances" src="$picture">
<h2>Permutation importances</h2>
$importances
<h2>Hyperparameters</h2>
$hyperparameters
</body>
</html>
""")


def render(
    evaluation: Evaluation, reference: Evaluation, *, hyperparameters: Mapping[str, Any], summary: str, picture: bytes
) -> str:
    """Return the page: figures beside those of the reference, the picture, importances and hyperparameters."""
    return _PAGE.substitute(
        summary=html.escape(summary),
        picture=data_uri(picture),
        metrics=table(METRICS_HEADER, metric_rows(evaluation, reference)),
        importances=table(
            ("feature", "growth of log-loss", "±"),
            ((i.feature, f"{i.mean:.4f}", f"{i.deviation:.4f}") for i in evaluation.importances),
        ),
        hyperparameters=table(("name", "value"), ((name, str(value)) for name, value in hyperparameters.items())),
    )


def metric_rows(evaluation: Evaluation, reference: Evaluation) -> list[tuple[str, str, str, str]]:
    """Return each metric's name, value, deviation over folds and the reference's value, as text."""
    return [
        (
            name.replace("_", " "),
            f"{evaluation.metrics[name]:.4f}",
            f"{evaluation.deviations[name]:.4f}",
            f"{reference.metrics[name]:.4f}",
        )
        for name in METRICS
    ]


def data_uri(picture: bytes) -> str:
    """Return a PNG as a URI that holds it."""
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of HTML; all but the first column is aligned as numbers are."""
    head, *body = ([*row] for row in (header, *rows))
    lines = [_row("th", head), *(_row("td", cells) for cells in body)]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _row(tag: str, cells: list[str]) -> str:
    first, *others = (html.escape(cell) for cell in cells)
    numbers = "".join(f'<{tag} class="number">{cell}</{tag}>' for cell in others)
    return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"
