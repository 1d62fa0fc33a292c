"""Long searches: how well workers share costly trials, and what ten thousand cheap ones leave in memory.

- 200 random trials of the tree family, ten folds each, with every core, over the seconds of the same trials one after
  the other in one process, shared out among the cores: at most 1 / 0.9.
- 10,000 trials: what the process of the search grows by from its first trial to its report, beyond what it grows by
  over 100 trials (which is the libraries that draw): under 50 MB.
- The report of those: under 2 MB.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
from measure import Figure

FAMILY = "gradient_boosting"
OVER = {
    "learning_rate": {"kind": "float", "log": True, "low": 0.01, "high": 0.5},
    "max_iter": {"kind": "int", "low": 20, "high": 120},
    "max_leaf_nodes": {"kind": "int", "low": 4, "high": 31},
}
TRIALS, FOLDS, SPEED = 200, 10, 0.9
MANY, FEW, GROWTH_MB, REPORT_MB = 10_000, 100, 50.0, 2.0
MB = 1e6


def figures(runs: int) -> list[Figure]:
    """Search as often as asked, both ways in turns, after it is checked that they come to the same scores."""
    cores = len(os.sched_getaffinity(0))
    measured = [
        [measure.ask_child(__file__, way, env=measure.one_thread()) for way in ("pool", "loop")] for _ in range(runs)
    ]
    if any(pool["scores"] != loop["scores"] for pool, loop in measured):
        raise SystemExit("workers come to other scores than a loop: there is nothing to compare")
    shared = [pool["seconds"] for pool, _ in measured]
    alone = [loop["seconds"] / cores for _, loop in measured]
    few, many = ([measure.ask_child(__file__, "cheap", str(trials)) for _ in range(runs)] for trials in (FEW, MANY))
    growth = [after["growth"] - before["growth"] for before, after in zip(few, many, strict=True)]
    report = [found["report"] for found in many]
    return [
        Figure(
            f"{TRIALS} trials of trees, {FOLDS} folds", "s", shared, alone, f"a loop, over {cores} cores", 1 / SPEED
        ),
        Figure(f"growth over {MANY:,} trials", "MB", growth, [GROWTH_MB] * runs, "the limit", 1.0),
        Figure(f"report of {MANY:,} trials", "MB", report, [REPORT_MB] * runs, "the limit", 1.0),
    ]


def pool() -> Any:
    """Search with worker processes; return the wall seconds and all scores."""
    from wine_assets.search.backends.pool import PoolBackend

    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        search = _search(Path(folder), {FAMILY: OVER}, TRIALS, FOLDS)
        began = time.perf_counter()
        result = search.run(PoolBackend(), lambda *_: None)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "scores": [trial.scores for trial in result.trials]}


def loop() -> Any:
    """Score the same candidates one after the other; return the wall seconds and all scores."""
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        search = _search(Path(folder), {FAMILY: OVER}, TRIALS, FOLDS)
        study = search.study(lambda *_: None)
        began = time.perf_counter()
        objective = search.context.objective()
        while (trial := study.ask()) is not None:
            study.tell(objective.score(trial))
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "scores": [trial.scores for trial in study.results()]}


def cheap(trials: str) -> dict[str, float]:
    """Run cheap trials and render their report; return the growth of this process and the page's size, in MB."""
    from wine_assets.reports import search_page as report
    from wine_assets.reports import search_picture
    from wine_assets.search.backends.pool import PoolBackend

    over = {
        "C": {"kind": "float", "log": True, "low": 1e-4, "high": 1e2},
        "tol": {"kind": "float", "low": 1e-5, "high": 0.1},
    }
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        first: list[float] = []
        search = _search(Path(folder), {"logistic_regression": over}, int(trials), 2)
        result = search.run(PoolBackend(), lambda *_: first or first.append(_resident()))
        drawn = search_picture.picture(result, dict(search.params.space))
        page = report.render(result, drawn, search.sentence(result))
        result.table()
        grown = _resident() - first[0]
    return {"growth": grown / MB, "report": len(page.encode()) / MB}


def _search(folder: Path, spaces: dict[str, Any], trials: int, folds: int) -> Any:
    from wine_assets.data import dataset, sources
    from wine_assets.search.params import SearchParams
    from wine_assets.search.search import Search

    frame = dataset.binarize(sources.load(sources.BundledSource()).frame, dataset.BinarizeParams())
    search = {
        "strategy": {"kind": "random"},
        "space": {family: {"parameters": over} for family, over in spaces.items()},
        "objective": {"folds": folds},
        "budget": {"trials": trials},
    }
    return Search.open(SearchParams.model_validate(search), frame, folder)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    measure.script(figures, runs=1, children={"pool": pool, "loop": loop, "cheap": cheap})
