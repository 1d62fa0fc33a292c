"""A search as one self-contained HTML page."""

import html
from collections.abc import Iterable
from string import Template
from typing import Any

from wine_assets.reports.evaluation_page import data_uri, table
from wine_assets.search.result import SearchResult
from wine_assets.search.trials import TrialResult

_SHOWN = 100
"""How many trials the page lists: the best, whatever their number."""
_FAILURES = 20

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hyperparameter search</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #111827; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #e5e7eb; padding: .35rem .9rem; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
</style>
</head>
<body>
<h1>Hyperparameter search</h1>
<p>$summary</p>
$chosen
<p>The simplest is the simplest candidate whose score is within one standard error of the best one.</p>
<img alt="History, parallel coordinates, importances and slices of the search" src="$picture">
<h2>The best trials</h2>
$trials
$failures
</body>
</html>
""")


def render(result: SearchResult, picture: bytes, summary: str) -> str:
    """Return the page: what was chosen, the picture, the best trials and why others failed."""
    best = sorted(result.finished, key=result.loss)[:_SHOWN]
    return _PAGE.substitute(
        summary=html.escape(summary),
        picture=data_uri(picture),
        chosen=table(
            ("", result.objective.metric.replace("_", " "), "standard error", "trial", "hyperparameters"),
            (_chosen("best", result.best), _chosen("simplest", result.simplest)),
        ),
        trials=table(
            ("trial", result.objective.metric.replace("_", " "), "standard error", "seconds", "MiB", "hyperparameters"),
            map(_row, best),
        ),
        failures=_failures(result.failed),
    )


def _chosen(name: str, trial: TrialResult) -> tuple[str, ...]:
    return name, f"{trial.mean:.4f}", f"{trial.standard_error:.4f}", str(trial.number), shown(trial)


def _row(trial: TrialResult) -> tuple[str, ...]:
    return (
        str(trial.number),
        f"{trial.mean:.4f}",
        f"{trial.standard_error:.4f}",
        f"{trial.seconds:.3f}",
        f"{trial.memory_mib:.1f}",
        shown(trial),
    )


def shown(trial: TrialResult) -> str:
    """Return a candidate as people read it."""
    values = ", ".join(f"{name}={_short(value)}" for name, value in trial.parameters.items())
    return f"{trial.family}({values})"


def _failures(failed: Iterable[TrialResult]) -> str:
    rows = [(str(trial.number), trial.reason, shown(trial)) for trial in failed]
    if not rows:
        return ""
    more = f"<p>And {len(rows) - _FAILURES} more.</p>" if len(rows) > _FAILURES else ""
    return "<h2>Trials that failed</h2>\n" + table(("trial", "why", "hyperparameters"), rows[:_FAILURES]) + more


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
