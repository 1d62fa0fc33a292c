"""One predictor asked by threads, coroutines and forked processes at once."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wine_assets.inference import Predictor
from wine_assets_tests.support.published_models import Publishable
from wine_assets_tests.support.wine_frames import wine


@pytest.fixture(scope="module")
def rows() -> Any:
    return wine().drop(columns="target").to_numpy().astype(np.float32)


@pytest.fixture
def path(first: Publishable, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(first.model)
    return path


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_may_ask_for_batches(first: Publishable, rows: Any, threads: int) -> None:
    predictor = Predictor(first.model, threads=threads)
    expected = predictor.predict_proba(rows).tobytes()
    with ThreadPoolExecutor(8) as pool:
        answers = {answer.tobytes() for answer in pool.map(predictor.predict_proba, [rows] * 200)}
    assert answers == {expected}


def test_threads_get_their_own_predictions(first: Publishable, rows: Any) -> None:
    """Each of many threads gets the predictions of its own rows from every method."""
    predictor = Predictor(first.model)
    labels, probabilities = predictor.predict_both(rows)
    named = [dict(zip(predictor.features, row.tolist(), strict=True)) for row in rows]

    def asked(call: int) -> bool:
        at = call % len(rows)
        one, (label, both) = predictor.predict_one(**named[at]), predictor.predict_both(rows[at : at + 1])
        alone = predictor.predict_proba(rows[at : at + 1])
        return (
            alone.tobytes() == both.tobytes() == probabilities[at].tobytes()
            and one.label == label[0] == labels[at]
            and one.probabilities == tuple(probabilities[at].tolist())
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(asked, range(4_000)))


def test_first_large_batch_of_many_threads(first: Publishable, rows: Any) -> None:
    """Threads whose first large batches coincide all get their results.

    The session that computes probabilities alone is made at the first of them.
    """
    large = np.tile(rows, (10, 1))
    expected = np.tile(Predictor(first.model).predict_proba(rows), (10, 1)).tobytes()
    for _ in range(10):
        predictor = Predictor(first.model)
        with ThreadPoolExecutor(8) as pool:
            assert {answer.tobytes() for answer in pool.map(predictor.predict_proba, [large] * 8)} == {expected}


def test_coroutines_use_loop_and_threads(first: Publishable, rows: Any) -> None:
    """Coroutines can predict in the event loop's thread and in others at the same time."""
    predictor = Predictor(first.model)
    labels, probabilities = predictor.predict_both(rows)

    async def ask(at: int) -> bool:
        row = rows[at : at + 1]
        elsewhere, here = asyncio.to_thread(predictor.predict_proba, row), predictor.predict_both(row)
        own = (await elsewhere)[0].tobytes() == here[1][0].tobytes() == probabilities[at].tobytes()
        return bool(own and here[0][0] == labels[at])

    async def ask_at_once() -> list[bool]:
        return await asyncio.gather(*(ask(at % len(rows)) for at in range(1_000)))

    assert all(asyncio.run(ask_at_once()))


NO_WARNING = ["-W", "ignore::DeprecationWarning"]
"""Python 3.12 and later warn of what is tested here: a fork while there are threads."""
FORKING = """
import os, signal, sys, threading
import numpy as np
from wine_assets.inference import Predictor

predictor = Predictor.load(sys.argv[1], threads=int(sys.argv[2]))
rows = np.random.default_rng(0).uniform(1, 10, (5000, 13)).astype(np.float32)
named = dict(zip(predictor.features, rows[0].tolist()))
expected, alone, one = predictor.predict_proba(rows), predictor.predict_proba(rows[:1]), predictor.predict_one(**named)


def is_answered_as_before():
    signal.alarm(60)  # a process that waits forever is ended by it
    return (
        (predictor.predict_proba(rows) == expected).all()
        and (predictor.predict_proba(rows[:1]) == alone).all()
        and predictor.predict_one(**named) == one
    )


def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def predict_again_and_again(stop):
    while not stop.is_set():
        predictor.predict_proba(rows)
        predictor.predict_one(**named)


def load_again_and_again(stop):
    while not stop.is_set():
        Predictor.load(sys.argv[1], threads=int(sys.argv[2]))


stop = threading.Event()
busy = [threading.Thread(target=work, args=[stop]) for work in (predict_again_and_again, load_again_and_again)]
for thread in busy:
    thread.start()
statuses = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if is_answered_as_before() else 3)
    statuses.append(status_of(child))
stop.set()
for thread in busy:
    thread.join()
child = os.fork()
if child == 0:
    grandchild = os.fork()
    same = is_answered_as_before()
    if grandchild:
        same = status_of(grandchild) == 0 and same
    sys.exit(0 if same else 3)  # the interpreter ends as a whole
statuses.append(status_of(child))
assert is_answered_as_before()
print(statuses)
"""


@pytest.mark.process
@pytest.mark.parametrize("threads", [1, 2])
def test_forked_process_of_a_busy_parent(path: Path, threads: int) -> None:
    """A process that is forked while its parent predicts and loads can predict, fork and end.

    So does the one that it forks itself, and the parent goes on.
    """
    command = [sys.executable, *NO_WARNING, "-c", FORKING, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str([0] * 6))


MULTIPROCESSING = """
import multiprocessing, sys
import numpy as np
from wine_assets.inference import Predictor

predictor = Predictor.load(sys.argv[1], threads=2)
rows = np.random.default_rng(0).uniform(1, 10, (100, 13)).astype(np.float32)
expected = predictor.predict_proba(rows)


def answered(at):
    return predictor.predict_proba(rows[at : at + 1])[0].tolist()


with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(answered, range(100)) == expected.tolist()
    pool.close()
    pool.join()
print("done")
"""


@pytest.mark.process
def test_pool_of_forked_processes(path: Path) -> None:
    """A pool of forked processes predicts with the model that its parent loaded."""
    command = [sys.executable, *NO_WARNING, "-c", MULTIPROCESSING, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "done\n")
