"""A fresh process up to its first prediction, over one that uses onnxruntime by hand: at most 1.3 for CPU and memory.

CPU seconds (user and system) and peak MiB of a process that imports `wine_assets.inference`, loads the champion of a
repository, which checks all checksums and the samples of its manifest, and answers one row; over those of one that
imports numpy and onnxruntime, makes a session with one thread of the same file, and runs the same row. What a lone
model file takes stands beside it. Interpreters start alike and are part of all figures.
"""

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure
import reference_model
from measure import MIB, Cost, Figure, Item

WARM_UPS = 2
OURS = """
import sys
import numpy as np
from wine_assets.inference import Predictor
Predictor.load(sys.argv[1]).predict_proba(np.zeros((1, 13), dtype=np.float32))
"""
BY_HAND = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(["probabilities"], {"features": np.zeros((1, 13), dtype=np.float32)})
"""


def figures(runs: int) -> list[Figure]:
    """Measure fresh processes in turns, after some unmeasured ones."""
    with tempfile.TemporaryDirectory(prefix="wine-bench-") as folder:
        repository = reference_model.released(Path(folder))
        model = repository / "versions" / "1" / "model.onnx"
        calls = [partial(_cost, OURS, repository), partial(_cost, BY_HAND, model), partial(_cost, OURS, model)]
        measure.interleaved(WARM_UPS, *calls)
        ours, peer, lone = measure.interleaved(runs, *calls)
    name = "onnxruntime by hand"
    return [
        Figure("first prediction, CPU", "s", _cpu(ours), _cpu(peer), name, 1.3, items=_lone(_cpu(lone))),
        Figure("first prediction, peak", "MiB", _peaks(ours), _peaks(peer), name, 1.3, items=_lone(_peaks(lone))),
    ]


def _cost(program: str, path: Path) -> Cost:
    return measure.run_child([sys.executable, "-c", program, path], measure.one_thread())


def _cpu(costs: list[Cost]) -> list[float]:
    return [cost.cpu for cost in costs]


def _peaks(costs: list[Cost]) -> list[float]:
    return [cost.peak / MIB for cost in costs]


def _lone(samples: list[float]) -> list[Item]:
    return [Item("a lone model file, without checks", statistics.median(samples))]


if __name__ == "__main__":
    measure.script(figures, runs=15)
