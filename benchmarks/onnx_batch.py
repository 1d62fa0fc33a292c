"""One million rows through the exported model, against onnxruntime alone, the memory they lie in, and scikit-learn.

Wall milliseconds of one call, everything warm, in turns within one process, one thread each unless said otherwise:

- `Predictor.predict_proba` on float32 rows [1,000,000, 13], over a bare onnxruntime run of the same graph and one pass
  that finds whether all values are finite: at most 1.15;
- the same over one pass of numpy over the same memory (its sum, its largest value or a copy, whichever is fastest
  here): how far the graph is from what the memory allows; published, no bound;
- the same with two threads, over one pass that only reads (the sum or the largest value): target 3.2, no bound;
- the same over `predict_proba` of the scikit-learn model that it was exported from, on float64 rows; no bound.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import measure
import reference_model
from measure import Figure, Item

ROWS = 1_000_000
PASSES = ("sum", "largest value", "copy")


class Rows(NamedTuple):
    """The same random rows twice, [1,000,000, 13]."""

    narrow: Any
    """As float32."""
    wide: Any
    """As float64."""


def figures(runs: int) -> list[Figure]:
    """Time all of them in processes of their own, whose libraries have one thread for everything."""
    environment = measure.one_thread()
    ours, bare, estimator, *passes = measure.ask_child(__file__, "in_turns", str(runs), env=environment)
    # The second thread looks for more work for a while after each run, so nothing else is timed beside it.
    two_threads, *readings = measure.ask_child(__file__, "with_two_threads", str(runs), env=environment)
    fastest, reading = min(passes, key=statistics.median), min(readings, key=statistics.median)
    items = [Item(name, None, statistics.median(samples)) for name, samples in zip(PASSES, passes, strict=True)]
    return [
        Figure("a million rows, wall", "ms", ours, bare, "onnxruntime and a finiteness pass", 1.15),
        Figure("a million rows, wall", "ms", ours, fastest, "one pass over the memory", items=items),
        Figure("with two threads, wall", "ms", two_threads, reading, "one pass over the memory", target=3.2),
        Figure("a million rows, wall", "ms", ours, estimator, "scikit-learn predict_proba"),
    ]


def in_turns(runs: str) -> list[list[float]]:
    """Milliseconds of ours, of onnxruntime alone, of scikit-learn, and of each pass over the memory."""
    import numpy as np

    reference, predictor, rows = _made(threads=1)
    estimator, target = reference_model.unnamed(reference.estimator), np.empty_like(rows.narrow)
    # Rounding a row to float32 moves its answer a little, and here scikit-learn gets the row before that.
    if np.abs(predictor.predict_proba(rows.narrow) - estimator.predict_proba(rows.wide)).max() > 1e-4:  # noqa: PLR2004
        raise SystemExit("the exported model and scikit-learn disagree: there is nothing to compare")
    bare = _bare(reference.model, rows.narrow)
    return measure.interleaved(
        int(runs),
        lambda: _milliseconds(lambda: predictor.predict_proba(rows.narrow)),
        lambda: _milliseconds(bare),
        lambda: _milliseconds(lambda: estimator.predict_proba(rows.wide)),
        lambda: _milliseconds(rows.narrow.sum),
        lambda: _milliseconds(rows.narrow.max),
        lambda: _milliseconds(lambda: np.copyto(target, rows.narrow)),
    )


def with_two_threads(runs: str) -> list[list[float]]:
    """Milliseconds of ours with two threads, and of the passes over the memory that only read."""
    _, predictor, rows = _made(threads=2)
    if predictor.threads != 2:  # noqa: PLR2004  as asked
        raise SystemExit("the model isn't run with two threads: there is nothing to compare")
    return measure.interleaved(
        int(runs),
        lambda: _milliseconds(lambda: predictor.predict_proba(rows.narrow)),
        lambda: _milliseconds(rows.narrow.sum),
        lambda: _milliseconds(rows.narrow.max),
    )


def _made(*, threads: int) -> tuple[reference_model.Reference, Any, Rows]:
    """Return the model that is fitted by default, what predicts with it, and the rows."""
    from wine_assets.inference import Predictor
    from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters

    reference = reference_model.fitted(LogisticRegressionHyperparameters())
    return reference, Predictor(reference.model, threads=threads), _rows(reference.rows)


def _rows(fitted_on: Any) -> Rows:
    import numpy as np

    low, high = fitted_on.to_numpy().min(), fitted_on.to_numpy().max()
    wide = np.random.default_rng(41).uniform(low, high, (ROWS, fitted_on.shape[1]))
    return Rows(wide.astype(np.float32), wide)


def _bare(model: bytes, rows: Any) -> Callable[[], None]:
    """Return a run by hand; rows are looked through in the fastest way that numpy has, one product without a copy."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    flat = rows.reshape(-1)

    def run() -> None:
        if np.isfinite(np.dot(flat, flat)):
            session.run(["probabilities"], {"features": rows})

    return run


def _milliseconds(call: Callable[[], object]) -> float:
    return 1e3 * measure.seconds(call)


if __name__ == "__main__":
    measure.script(figures, runs=20, children={"in_turns": in_turns, "with_two_threads": with_two_threads})
