"""Concurrent callers in one event loop whose rows are gathered into one run, over each with a run of its own.

Wall milliseconds until all callers have the answer to one row each, the mean of 20 rounds, everything warm, in turns
within one process, one thread: `AsyncPredictor` as it is by default, over the same with `max_rows=1`, and over
coroutines that call `Predictor` themselves. Published without bounds.

- 64 callers and 8 of a random forest of 300 trees, as skl2onnx exports it: onnxruntime takes the trees of each row in
  turn, so that no more than the cost of a run is saved;
- 64 callers of the reference model, which takes as long for 64 rows as for one;
- a single caller of the forest, who has nobody to be gathered with, over `Predictor` without asyncio.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import measure
import reference_model
from measure import Figure

Ask = Callable[[Any], Awaitable[Any]]
"""Rows to the probabilities of their classes."""
TREES = 300
ROUNDS = 20


CROWDS = {
    "64 callers at once, a forest, wall": ("forest", 64),
    "8 callers at once, a forest, wall": ("forest", 8),
    "64 callers at once, the reference model, wall": ("linear", 64),
}


def figures(runs: int) -> list[Figure]:
    """Time all of them in a process of their own."""
    alone, direct, *crowds = measure.ask_child(__file__, "in_turns", str(runs), env=measure.one_thread())
    compared = zip(CROWDS, crowds[::3], crowds[1::3], crowds[2::3], strict=True)
    return [
        *(
            Figure(name, "ms", gathered, peer, peer_name)
            for name, gathered, apart, own in compared
            for peer_name, peer in (("max_rows=1", apart), ("Predictor in each coroutine", own))
        ),
        Figure("one caller, a forest, wall", "ms", alone, direct, "Predictor without asyncio"),
    ]


def in_turns(runs: str) -> list[list[float]]:
    """Milliseconds of a single caller with and without asyncio, and of each crowd in its three ways."""
    return asyncio.run(_in_turns(int(runs)))


async def _in_turns(runs: int) -> list[list[float]]:
    import numpy as np

    from wine_assets.inference import Predictor

    reference = reference_model.reference()
    rows = reference.rows.to_numpy().astype(np.float32)
    forest = Predictor(_forest(reference))
    ways = {"forest": _ways(forest), "linear": _ways(Predictor(reference.model))}
    for asked in ways.values():
        await _refuse_unless_equal(rows, *asked)
    crowds = [partial(_asked_at_once, ask, rows[:n]) for model, n in CROWDS.values() for ask in ways[model]]

    async def direct() -> None:
        forest.predict_proba(rows[:1])

    return await _interleaved(runs, partial(ways["forest"][0], rows[:1]), direct, *crowds)


def _ways(predictor: Any) -> list[Ask]:
    """Return how a coroutine may ask: gathered, gathered into runs of one row, and without gathering."""
    from wine_assets.inference import AsyncPredictor, Batching

    async def ask(rows: Any) -> Any:
        return predictor.predict_proba(rows)

    return [AsyncPredictor(predictor).predict_proba, AsyncPredictor(predictor, Batching(max_rows=1)).predict_proba, ask]


def _forest(reference: reference_model.Reference) -> bytes:
    """Fit a random forest on the bundled wine data, and export it."""
    from sklearn.ensemble import RandomForestClassifier

    from wine_assets.models import training
    from wine_assets.models.onnx import export

    data = training.training_data(reference.frame)
    estimator = RandomForestClassifier(TREES, random_state=0)
    estimator.fit(reference.rows.to_numpy(), reference.frame["target"].to_numpy())
    metadata = {"features": json.dumps(data.features), "classes": json.dumps(data.classes), "family": "random_forest"}
    return export.convert(estimator, data, metadata)


async def _asked_at_once(ask: Ask, rows: Any) -> list[Any]:
    return await asyncio.gather(*(ask(rows[at : at + 1]) for at in range(len(rows))))


async def _interleaved(runs: int, *calls: Callable[[], Awaitable[Any]]) -> list[list[float]]:
    """Milliseconds of each call in turns, as `measure.interleaved` has them, without leaving the loop."""
    samples: list[list[float]] = [[] for _ in calls]
    loop = asyncio.get_running_loop()
    for _ in range(runs):
        for call, own in zip(calls, samples, strict=True):
            start = loop.time()
            for _ in range(ROUNDS):
                await call()
            own.append(1e3 * (loop.time() - start) / ROUNDS)
    return samples


async def _refuse_unless_equal(rows: Any, *ways: Ask) -> None:
    import numpy as np

    expected, *others = [np.concatenate(await _asked_at_once(ask, rows)) for ask in ways]
    # A forest's sum over its trees may differ in its last bits from batch to batch.
    if any(np.abs(other - expected).max() > 1e-5 for other in others):  # noqa: PLR2004
        raise SystemExit("the calls answer differently: there is nothing to compare")


if __name__ == "__main__":
    measure.script(figures, runs=50, children={"in_turns": in_turns})
