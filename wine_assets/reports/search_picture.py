"""A search as a picture: its course, its trials side by side, each hyperparameter, and which of them matter."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

from wine_assets.search.result import SearchResult
from wine_assets.search.space import Distribution, FamilySpace
from wine_assets.search.trials import TrialResult

_BLUE, _GRAY, _RED = "#2563eb", "#9ca3af", "#b91c1c"
_LINES = 200
"""How many trials at most are drawn as lines side by side: the best ones."""
_SLICES = 6
"""How many hyperparameters at most have a picture of their own: the ones that matter most."""
_ENOUGH = 10
"""From how many finished trials on it is told which hyperparameters matter."""
_TREES = 100
_COLORS = 256
_FEW_DECADES = 200.0
"""Up to which ratio of its ends a logarithmic scale has ticks at 2 and 5 as well."""


def importances(result: SearchResult, family: str, space: FamilySpace) -> dict[str, float]:
    """Return the share of each searched hyperparameter in what the score depends on, the largest first.

    They are the impurity importances of extremely randomized trees (Geurts, Ernst and Wehenkel, 2006) that are fitted
    on the finished trials of the family; empty for fewer than ten of those, or no hyperparameter that varies.
    """
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor

    names = varied(space)
    trials = _of(result, family)
    if len(trials) < _ENOUGH or not names:
        return {}
    points = np.array([[_place(space.parameters[name], trial.parameters[name]) for name in names] for trial in trials])
    losses = np.array([result.loss(trial) for trial in trials])
    trees = ExtraTreesRegressor(_TREES, random_state=0).fit(points, losses)
    shares = dict(zip(names, map(float, trees.feature_importances_), strict=True))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def varied(space: FamilySpace) -> list[str]:
    """Return the hyperparameters that have more than one value."""
    return [name for name, spread in space.parameters.items() if len(spread.ends()) > 1]


def picture(result: SearchResult, space: dict[str, FamilySpace]) -> bytes:
    """Draw a search as a PNG: its history, parallel coordinates, importances and slices of each family.

    It has a palette of 256 colors, with which clouds of thousands of trials take a third of the bytes.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    families = [name for name in space if _of(result, name)]
    shares = {name: importances(result, name, space[name]) for name in families}
    sliced = {name: list(shares[name] or varied(space[name]))[:_SLICES] for name in families}
    rows = 1 + sum(1 + _rows_of(fields) for fields in sliced.values())
    figure = Figure(figsize=(12, 3.4 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 6)
    _draw_history(figure.add_subplot(grid[0, :]), result)
    row = 1
    for name in families:
        _draw_parallel(figure.add_subplot(grid[row, :4]), result, name, space[name])
        _draw_importances(figure.add_subplot(grid[row, 4:]), shares[name])
        for place, field in enumerate(sliced[name]):
            column = 2 * (place % 3)
            axes = figure.add_subplot(grid[row + 1 + place // 3, column : column + 2])
            _draw_slice(axes, result, _of(result, name), field, space[name].parameters[field])
        row += 1 + _rows_of(sliced[name])
    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name that the font can't write is a row of boxes
        canvas.draw()
    buffer, drawn = io.BytesIO(), Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    palette = Image.Quantize.FASTOCTREE  # which keeps rare colors, as that of the best trial is
    drawn.quantize(_COLORS, palette, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _rows_of(fields: Sequence[str]) -> int:
    return -(-len(fields) // 3)


def _of(result: SearchResult, family: str) -> list[TrialResult]:
    return [trial for trial in result.finished if trial.family == family]


def _draw_history(axes: Any, result: SearchResult) -> None:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    finished, best = result.finished, result.best
    numbers = np.array([trial.number for trial in finished])
    means = np.array([trial.mean for trial in finished])
    running = np.minimum.accumulate(result.objective.direction * means) * result.objective.direction
    axes.scatter(numbers, means, s=12, color=_GRAY, label="trial")
    axes.step(numbers, running, where="post", color=_BLUE, label="best so far")
    axes.scatter([best.number], [best.mean], s=60, color=_RED, zorder=3, label=f"best: trial {best.number}")
    metric = result.objective.metric.replace("_", " ")
    axes.set(title="History", xlabel="trial", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if means.min() > 0 and means.max() > 10 * means.min():
        axes.set_yscale("log")
    axes.legend(loc="best")


def _draw_parallel(axes: Any, result: SearchResult, family: str, space: FamilySpace) -> None:
    """Draw each of the best trials as a line over its hyperparameters, the better the bluer."""
    import numpy as np
    from matplotlib import colormaps

    names = varied(space)
    best = sorted(_of(result, family), key=result.loss)[:_LINES]
    colors = colormaps["viridis_r"](np.linspace(0, 1, max(len(best), 2)))
    for rank, trial in reversed(list(enumerate(best))):
        heights = [_place(space.parameters[name], trial.parameters[name]) for name in names]
        last = 1 - rank / max(len(best) - 1, 1)
        axes.plot([*range(len(names)), len(names)], [*heights, last], color=colors[-1 - rank], alpha=0.6, linewidth=1)
    labels = [f"{name}\n{_ends(space.parameters[name])}" for name in names]
    axes.set_xticks(range(len(names) + 1), [*labels, "rank\n(best on top)"], parse_math=False)
    axes.set(title=f"{family}: the best {len(best)} {'trial' if len(best) == 1 else 'trials'}", yticks=[])


def _draw_importances(axes: Any, shares: dict[str, float]) -> None:
    shown = list(shares.items())[::-1]
    axes.barh(range(len(shown)), [share for _, share in shown], color=_BLUE)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown], parse_math=False)
    axes.set(title="Which hyperparameters matter", xlabel="share", xlim=(0, 1))
    if not shown:
        said = f"fewer than {_ENOUGH} trials, or nothing that varies"
        axes.text(0.5, 0.5, said, ha="center", va="center", color=_GRAY, transform=axes.transAxes)
        axes.set_yticks([])


def _draw_slice(
    axes: Any, result: SearchResult, trials: Sequence[TrialResult], field: str, spread: Distribution
) -> None:
    values = [trial.parameters[field] for trial in trials]
    if spread.kind == "categorical":
        values = [spread.values.index(value) for value in values]
        axes.set_xticks(range(len(spread.values)), [str(value) for value in spread.values], parse_math=False)
    elif spread.log:
        _scale(axes, spread)
    axes.scatter(values, [trial.mean for trial in trials], s=12, color=_BLUE, alpha=0.6)
    axes.set(xlabel=field, ylabel=result.objective.metric.replace("_", " "))


def _scale(axes: Any, spread: Distribution) -> None:
    """Give the axis a logarithmic scale, whose ticks are far enough from each other to be read."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(spread.low / 1.1, spread.high * 1.1)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if spread.high < _FEW_DECADES * spread.low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")


def _place(spread: Distribution, value: Any) -> float:
    """Return where a value stands, from 0 to 1, between the ends that it is drawn from."""
    import math

    if spread.kind == "categorical":
        return spread.values.index(value) / max(len(spread.values) - 1, 1)
    if spread.log:
        return math.log(value / spread.low) / math.log(spread.high / spread.low)
    return float((value - spread.low) / (spread.high - spread.low))


def _ends(spread: Distribution) -> str:
    if spread.kind == "categorical":
        return f"{spread.values[0]} to {spread.values[-1]}"
    return f"{spread.low:g} to {spread.high:g}"
