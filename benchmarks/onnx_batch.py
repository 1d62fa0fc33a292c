"""One million rows through the exported model, against the memory that they lie in and against scikit-learn.

Wall milliseconds of one call, everything warm, in turns within one process, one thread each; published, no bound:

- `Predictor.predict_proba` on float32 rows [1,000,000, 13], over one pass of numpy over the same memory (its sum,
  its largest value or a copy, whichever is fastest here): how far the graph is from what the memory allows;
- the same over `predict_proba` of the scikit-learn model that it was exported from, on float64 rows.
"""

import statistics
from collections.abc import Callable
from typing import Any

import measure
from measure import Figure, Item

ROWS = 1_000_000
PASSES = ("sum", "largest value", "copy")


def figures(runs: int) -> list[Figure]:
    """Time all of them in a process of their own, which has one thread for everything."""
    ours, estimator, *passes = measure.ask_child(__file__, "in_turns", str(runs), env=measure.one_thread())
    fastest = min(passes, key=statistics.median)
    items = [Item(name, None, statistics.median(samples)) for name, samples in zip(PASSES, passes, strict=True)]
    return [
        Figure("a million rows, wall", "ms", ours, fastest, "one pass over the memory", items=items),
        Figure("a million rows, wall", "ms", ours, estimator, "scikit-learn predict_proba"),
    ]


def in_turns(runs: str) -> list[list[float]]:
    """Milliseconds of the ONNX model, of scikit-learn, and of each pass over the memory."""
    import numpy as np

    predictor, estimator, X = _models()
    wide = np.random.default_rng(41).uniform(X.min(), X.max(), (ROWS, X.shape[1]))
    rows = wide.astype(np.float32)
    target = np.empty_like(rows)
    if np.abs(predictor.predict_proba(rows) - estimator.predict_proba(wide)).max() > 1e-4:  # noqa: PLR2004  see below
        # (rounding a row to float32 moves its answer a little, and here scikit-learn gets the row before that)
        raise SystemExit("the exported model and scikit-learn disagree: there is nothing to compare")
    return measure.interleaved(
        int(runs),
        lambda: _milliseconds(lambda: predictor.predict_proba(rows)),
        lambda: _milliseconds(lambda: estimator.predict_proba(wide)),
        lambda: _milliseconds(rows.sum),
        lambda: _milliseconds(rows.max),
        lambda: _milliseconds(lambda: np.copyto(target, rows)),
    )


def _models() -> tuple[Any, Any, Any]:
    """Train the default model on the wine data; return it as ONNX, as it is, and what it was trained on."""
    from wine_assets.inference.predictor import Predictor
    from wine_assets.ml import dataset, sources, training
    from wine_assets.ml.families.logistic_regression import LogisticRegressionFamily
    from wine_assets.ml.hyperparameters import LogisticRegressionHyperparameters

    raw = sources.load(sources.BundledSource()).frame
    frame = dataset.binarize(raw, dataset.BinarizeParams())
    hyperparameters = LogisticRegressionHyperparameters()
    estimator = training.train(frame, hyperparameters).estimator
    data = training.training_data(frame)
    content = LogisticRegressionFamily().export(estimator, hyperparameters, data)
    X, _ = dataset.features_and_target(frame)
    return Predictor(content, threads=1), _unnamed(estimator), X


def _unnamed(estimator: Any) -> Any:
    """Let the estimator take arrays without a warning, as it does when it is given frames without names."""
    for part in (estimator, *(step for _, step in getattr(estimator, "steps", []))):
        vars(part).pop("feature_names_in_", None)
    return estimator


def _milliseconds(call: Callable[[], object]) -> float:
    return 1e3 * measure.seconds(call)


if __name__ == "__main__":
    measure.script(figures, runs=20, children={"in_turns": in_turns})
