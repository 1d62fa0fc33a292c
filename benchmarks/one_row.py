"""One row through `Predictor` in process, over the least that onnxruntime itself takes for it.

Wall microseconds of one call, each the mean of a thousand, everything warm, in turns within one process with one
thread. The peer is `run_with_iobinding` of the same graph with a row, a label and probabilities bound before: nothing
is checked, copied or made.

- `predict_proba` of a float32 row [1, 13]: at most 1.7, target 1.3;
- `predict_one` of 13 values by name: at most 3;
- the same two over `predict_proba` of the scikit-learn model that it was exported from, of a row as an array and of
  one in a DataFrame: published, no bound.
"""

from collections.abc import Callable
from typing import Any

import measure
import reference_model
from measure import Figure

CALLS = 1000
FEW_CALLS = 20
"""scikit-learn takes so much longer that fewer calls are as precise."""


def figures(runs: int) -> list[Figure]:
    """Time all of them in a process of their own."""
    row, named, bare, array, frame = measure.ask_child(__file__, "in_turns", str(runs), env=measure.one_thread())
    return [
        Figure("one row as an array, wall", "us", row, bare, "onnxruntime, all bound", 1.7, 1.3),
        Figure("one row as named values, wall", "us", named, bare, "onnxruntime, all bound", 3.0),
        Figure("one row as an array, wall", "us", row, array, "scikit-learn, an array"),
        Figure("one row as named values, wall", "us", named, frame, "scikit-learn, a DataFrame"),
    ]


def in_turns(runs: str) -> list[list[float]]:
    """Microseconds of our two calls, of onnxruntime alone, and of scikit-learn with an array and with a frame."""
    import copy

    import numpy as np

    from wine_assets.inference import Predictor

    reference = reference_model.reference()
    predictor, estimator = Predictor(reference.model), reference.estimator
    frame = reference.rows.iloc[:1]
    wide = frame.to_numpy()
    row = wide.astype(np.float32)
    named = dict(zip(predictor.features, row[0].tolist(), strict=True))
    bare, probabilities = bound(reference.model, row)
    without_names = reference_model.unnamed(copy.deepcopy(estimator))
    bare()
    _refuse_unless_equal(predictor.predict_proba(row), probabilities, [predictor.predict_one(**named).probabilities])
    return measure.interleaved(
        int(runs),
        lambda: _microseconds(CALLS, lambda: predictor.predict_proba(row)),
        lambda: _microseconds(CALLS, lambda: predictor.predict_one(**named)),
        lambda: _microseconds(CALLS, bare),
        lambda: _microseconds(FEW_CALLS, lambda: without_names.predict_proba(wide)),
        lambda: _microseconds(FEW_CALLS, lambda: estimator.predict_proba(frame)),
    )


def bound(model: bytes, row: Any) -> tuple[Callable[[], Any], Any]:
    """Return a run of the graph with everything bound before, and the array that its probabilities are written to."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    label, probabilities = np.zeros(1, dtype=np.int64), np.zeros((1, 2), dtype=np.float32)
    binding = session.io_binding()
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (row, label, probabilities)]
    binding.bind_ortvalue_input("features", held[0])
    binding.bind_ortvalue_output("label", held[1])
    binding.bind_ortvalue_output("probabilities", held[2])
    return lambda _=held: session.run_with_iobinding(binding), probabilities


def _refuse_unless_equal(ours: Any, *others: Any) -> None:
    if any((ours != other).any() for other in others):
        raise SystemExit("the calls answer differently: there is nothing to compare")


def _microseconds(calls: int, call: Callable[[], object]) -> float:
    return 1e6 * measure.seconds(lambda: [call() for _ in range(calls)]) / calls


if __name__ == "__main__":
    measure.script(figures, runs=50, children={"in_turns": in_turns})
