"""A search for C from a cold process to the refitted estimator, over the same one written for Flyte and scikit-learn.

20 values of C from 1e-4 to 1e2, unscaled, five folds each, and a fit on all rows with the best. Wall seconds of the
whole process, with equal scores:

- ours over a Flyte `map_task` of the same trials: at most 0.7;
- ours over the faster of GridSearchCV with n_jobs=1 and n_jobs=-1: at most 0.75.

Published beside them, without a bound: the same over two bare processes that import scikit-learn at the same time and
share the fits, which is about as fast as this can be. With a bound of 3 ms: what a trial in a worker process costs
beyond its own seconds. Without one: what it costs on Ray, beside the pool's; and how long each of 100 trials has to
take for a Ray cluster of this machine's cores, started for the search, to be done sooner than a loop in one process,
beside a pool's workers.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flyte_peer
import measure
from measure import Figure, Item
from peer_environment import HERE

VALUES = [10 ** (-4 + 6 * step / 19) for step in range(20)]
FOLDS = 5
CLOSE = 1e-9
OVERHEAD_TRIALS, OVERHEAD_BOUND_S = 400, 0.003
TOGETHER_S = 0.05
"""Outcomes that come so soon after each other were reported together."""
SEARCHED = 100
"""The trials of a search for which it is said how long they have to take."""


def figures(runs: int) -> list[Figure]:
    """Search in turns by all four, after one unmeasured run of each that is checked to come to the same scores."""
    note = flyte_peer.prepare()
    here = [sys.executable, __file__, "--child"]
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        theirs = flyte_peer.isolated(Path(folder))
        commands: dict[str, tuple[list[str | Path], dict[str, str]]] = {
            "ours": ([*here, "ours"], measure.environment(PYTHONPATH=str(measure.ROOT))),
            "flyte": ([flyte_peer.PEER.command("pyflyte"), *_flyte_arguments()], theirs),
            "one job": ([*here, "scikit_learn", "1"], measure.environment()),
            "all jobs": ([*here, "scikit_learn", "-1"], measure.environment()),
            "bare": ([*here, "bare"], measure.environment(OMP_NUM_THREADS="1")),
        }
        _refuse_unless_equal(commands)
        calls = [partial(_wall, *command) for command in commands.values()]
        measured = dict(zip(commands, measure.interleaved(runs, *calls), strict=True))
    peer = min(("one job", "all jobs"), key=lambda name: statistics.median(measured[name]))
    name = f"search of {len(VALUES)} values, cold"
    pool = [measure.ask_child(__file__, "overhead") for _ in range(runs)]
    ray = [measure.ask_child(__file__, "ray_overhead") for _ in range(runs)]
    overhead = [each for _, each in pool]
    bound = [OVERHEAD_BOUND_S] * runs
    return [
        Figure(name, "s", measured["ours"], measured["flyte"], "pyflyte, map_task", 0.7, note=note),
        Figure(name, "s", measured["ours"], measured[peer], f"GridSearchCV, {peer}", 0.75),
        Figure(name, "s", measured["ours"], measured["bare"], "two bare processes"),
        Figure("a trial in a worker, beyond its own seconds", "s", overhead, bound, "the bound, 3 ms", 1.0),
        Figure("a trial on Ray, beyond its own seconds", "s", [each for _, each in ray], overhead, "a worker"),
        Figure(
            f"a trial, from which workers pay, of {SEARCHED}",
            "s",
            [_pays_from(*costs) for costs in ray],
            [_pays_from(*costs) for costs in pool],
            "the pool's; ours: Ray's",
            items=[Item("starting and ending", _fixed(ray), _fixed(pool))],
        ),
    ]


def _flyte_arguments() -> list[str | Path]:
    return ["run", HERE / "flyte_search.py", "search_workflow", "--values", json.dumps(VALUES)]


def _wall(argv: list[str | Path], env: dict[str, str]) -> float:
    return measure.run_child(argv, env).wall


def _refuse_unless_equal(commands: dict[str, tuple[list[str | Path], dict[str, str]]]) -> None:
    scores = {name: _scores(*command) for name, command in commands.items()}
    for name, found in scores.items():
        if max(abs(a - b) for a, b in zip(found, scores["one job"], strict=True)) > CLOSE:
            raise SystemExit(f"{name} comes to other scores: there is nothing to compare")


def _scores(argv: list[str | Path], env: dict[str, str]) -> list[float]:
    ended = subprocess.run(argv, env=env, cwd=measure.ROOT, check=True, capture_output=True, text=True)
    lines = [line for line in ended.stdout.splitlines() if "SCORES" in line]
    found: list[float] = json.loads(lines[-1].partition("SCORES")[2].strip().strip("'\""))
    return found


def ours() -> Any:
    """Search with the pool and fit the best, then tell the scores."""
    from wine_assets.workflow import search_workflow

    over = {"C": {"kind": "categorical", "values": VALUES}, "scaler": {"kind": "categorical", "values": ["none"]}}
    tuned = search_workflow(
        {
            "strategy": {"kind": "grid"},
            "space": {"logistic_regression": {"parameters": over}},
            "objective": {"folds": FOLDS},
            "budget": {},
        }
    )
    _tell([trial.mean for trial in tuned.result.trials])


def scikit_learn(jobs: str) -> Any:
    """Search with GridSearchCV, then tell the scores."""
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    X, y = load_wine(return_X_y=True, as_frame=True)
    search = GridSearchCV(
        LogisticRegression(max_iter=5000),
        {"C": VALUES},
        scoring="neg_log_loss",
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
        n_jobs=int(jobs),
    ).fit(X, (y != 0).astype(int))
    _tell([-score for score in search.cv_results_["mean_test_score"].tolist()])


def bare() -> Any:
    """Search with two processes that import at the same time and take candidates from a pipe, then tell the scores."""
    queued, queue = os.pipe()
    os.write(queue, bytes(reversed(range(len(VALUES)))))
    os.close(queue)
    told, tell = os.pipe()
    other = os.fork()

    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    X, y = load_wine(return_X_y=True, as_frame=True)
    y = (y != 0).astype(int)
    folds = [*StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y)]
    while candidate := os.read(queued, 1):
        losses = []
        for fitted, held_out in folds:
            model = LogisticRegression(max_iter=5000, C=VALUES[candidate[0]]).fit(X.iloc[fitted], y.iloc[fitted])
            losses.append(log_loss(y.iloc[held_out], model.predict_proba(X.iloc[held_out])))
        os.write(tell, f"{candidate[0]} {statistics.fmean(losses)!r}\n".encode())
    if other == 0:
        os._exit(0)
    os.waitpid(other, 0)
    os.close(tell)
    with os.fdopen(told) as lines:
        scores = {int(number): float(score) for number, score in map(str.split, lines)}
    LogisticRegression(max_iter=5000, C=VALUES[min(scores, key=scores.__getitem__)]).fit(X, y)
    _tell([scores[number] for number in range(len(VALUES))])


def _tell(scores: list[float]) -> None:
    print("SCORES", json.dumps(scores), flush=True)
    sys.exit(0)


def overhead() -> tuple[float, float]:
    """Return the wall seconds that a worker takes to start, and for a short trial beyond those of the trial itself."""
    from wine_assets.search.backends.pool import run_in_workers
    from wine_assets.search.workers.processes import Workers

    study, context = _short_trials()
    began = time.perf_counter()
    with Workers(context, 1) as workers:
        workers.ready(None)
        ready = time.perf_counter()
        run_in_workers(study, workers)
        wall = time.perf_counter() - ready
    return ready - began, (wall - _own_seconds(study)) / OVERHEAD_TRIALS


def ray_overhead() -> tuple[float, float]:
    """Return the same of Ray: what a cluster takes to start and end, and a short trial on it beyond its own seconds."""
    from wine_assets.search.backends.ray.backend import RayBackend

    came: list[float] = []
    study, context = _short_trials(lambda _: came.append(time.perf_counter()))
    began = time.perf_counter()
    RayBackend(workers=1).run(study, context)
    wall, first = time.perf_counter() - began, sum(at == came[0] or at - came[0] < TOGETHER_S for at in came)
    seconds = [trial.seconds for trial in study.results()]
    each = (came[-1] - came[0] - sum(seconds[first:])) / (OVERHEAD_TRIALS - first)
    return wall - sum(seconds) - each * OVERHEAD_TRIALS, each


def _pays_from(fixed: float, each: float) -> float:
    """Return the seconds of a trial from which workers on all cores are done sooner than a loop.

    With n trials of s seconds and w workers that is where fixed + n (s + each) / w is n s.
    """
    workers = max(len(os.sched_getaffinity(0)), 2)
    return (fixed / SEARCHED + each / workers) / (1 - 1 / workers)


def _fixed(costs: list[tuple[float, float]]) -> float:
    return statistics.median(fixed for fixed, _ in costs)


def _short_trials(record: Callable[[Any], None] = lambda _: None) -> tuple[Any, Any]:
    """Return a study of short trials, and what they have in common."""
    from wine_assets.data import dataset, sources
    from wine_assets.search.objective import Direction, ObjectiveParams
    from wine_assets.search.space import Space
    from wine_assets.search.strategies import Random
    from wine_assets.search.study import Budget, Study
    from wine_assets.search.trial_context import TrialContext

    frame = dataset.binarize(sources.load(sources.BundledSource()).frame, dataset.BinarizeParams())
    X, y = dataset.features_and_target(frame)
    study = Study(Random(Space.checked({}), 0), Budget(trials=OVERHEAD_TRIALS), 0, Direction.MINIMIZE, record=record)
    return study, TrialContext(X, y, ObjectiveParams(folds=2), ("logistic_regression",))


def _own_seconds(study: Any) -> float:
    return float(sum(trial.seconds for trial in study.results()))


if __name__ == "__main__":
    children = {each.__name__: each for each in (ours, scikit_learn, bare, overhead, ray_overhead)}
    measure.script(figures, runs=3, children=children)
