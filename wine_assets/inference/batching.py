"""Many callers of one event loop, answered together."""

import asyncio
from typing import Any

import msgspec
import numpy as np

from wine_assets.errors import InputError
from wine_assets.inference import features
from wine_assets.inference.features import Rows
from wine_assets.inference.predictor import Prediction, Predictor

Labels = np.ndarray[Any, np.dtype[np.int64]]
Answers = tuple[Labels, Rows]


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many callers share a run, and how long the first of them waits for others.

    Raises InputError for limits that make no sense.
    """

    max_rows: int = 1024
    """Rows of one run; callers beyond it share the next one."""
    max_wait_s: float = 0.0
    """Seconds that a caller waits for others: 0 gathers those that are there in the same turn of the loop."""
    inline_rows: int = 256
    """Rows up to which a run is made in the loop's own thread, where it ends sooner than another would begin."""

    def __post_init__(self) -> None:
        """Refuse limits below what a run needs."""
        for name, value, least in (("max_rows", self.max_rows, 1), ("inline_rows", self.inline_rows, 0)):
            if value < least:
                raise InputError(f"`{name}` must be at least {least}, got {value}.")
        if not 0 <= self.max_wait_s < 60:  # noqa: PLR2004 - a caller that waits longer has given up
            raise InputError(f"`max_wait_s` must be from 0 to 60 seconds, got {self.max_wait_s}.")


class AsyncPredictor:
    """A predictor for the coroutines of one event loop, which gathers what they ask for into as few runs as it can.

    While a large run is made in a thread, callers that come are gathered for the next one.
    """

    def __init__(self, predictor: Predictor, batching: Batching | None = None) -> None:
        self.predictor = predictor
        self.batching = batching or Batching()
        self._waiting: list[tuple[Rows, asyncio.Future[Answers]]] = []
        self._is_due = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def predict_both(self, rows: Any) -> Answers:
        """Return labels, int64 [n], and probabilities, float32 [n, classes]; raise InputError as `Predictor` does."""
        return await self.submit(features.rows_of(rows, self.predictor.features, self.predictor.extras))

    async def predict_proba(self, rows: Any) -> Rows:
        """Return the probabilities, float32 [n, classes]."""
        return (await self.predict_both(rows))[1]

    async def predict(self, rows: Any) -> Labels:
        """Return the labels, int64 [n]."""
        return (await self.predict_both(rows))[0]

    async def predict_one(self, **values: float) -> Prediction:
        """Return the answer for one row of values by feature name."""
        names = self.predictor.features
        features.check_names(values.keys(), names, self.predictor.extras)
        row = np.array([[features.number(values[name], name) for name in names]], dtype=np.float32)
        labels, probabilities = await self.submit(row)
        return Prediction(labels.item(), tuple(probabilities.tolist()[0]))

    def submit(self, rows: Rows) -> "asyncio.Future[Answers]":
        """Return the future answers to finite float32 rows [n, features], for callers that have checked them."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Answers] = loop.create_future()
        self._waiting.append((rows, future))
        if not self._is_due and not self._running:
            self._is_due = True
            if self.batching.max_wait_s:
                loop.call_later(self.batching.max_wait_s, self._answer_waiting)
            else:
                loop.call_soon(self._answer_waiting)
        return future

    def _answer_waiting(self) -> None:
        self._is_due = False
        while self._waiting and not self._running:
            batch = self._next_batch()
            if sum(len(rows) for rows, _ in batch) <= self.batching.inline_rows:
                _settle(batch, self.predictor)
            else:
                task = asyncio.ensure_future(self._answer_in_a_thread(batch))
                self._running.add(task)

    async def _answer_in_a_thread(self, batch: "list[tuple[Rows, asyncio.Future[Answers]]]") -> None:
        try:
            rows = _together(batch)
            answers = await asyncio.get_running_loop().run_in_executor(None, self.predictor.answer, rows)
        except Exception as error:  # noqa: BLE001 - each of the callers hears of it
            _fail(batch, error)
        else:
            _share(batch, answers)
        finally:
            self._running.clear()
            self._answer_waiting()

    def _next_batch(self) -> "list[tuple[Rows, asyncio.Future[Answers]]]":
        """Take the callers that fit into one run, at least one, in the order in which they came."""
        count = total = 0
        for rows, _ in self._waiting:
            if count and total + len(rows) > self.batching.max_rows:
                break
            count, total = count + 1, total + len(rows)
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch


def _settle(batch: "list[tuple[Rows, asyncio.Future[Answers]]]", predictor: Predictor) -> None:
    try:
        answers = predictor.answer(_together(batch))
    except Exception as error:  # noqa: BLE001 - each of the callers hears of it
        _fail(batch, error)
    else:
        _share(batch, answers)


def _together(batch: "list[tuple[Rows, asyncio.Future[Answers]]]") -> Rows:
    return batch[0][0] if len(batch) == 1 else np.concatenate([rows for rows, _ in batch])


def _share(batch: "list[tuple[Rows, asyncio.Future[Answers]]]", answers: Answers) -> None:
    labels, probabilities = answers
    start = 0
    for rows, future in batch:
        end = start + len(rows)
        if not future.done():  # a caller may have given up
            future.set_result((labels[start:end], probabilities[start:end]))
        start = end


def _fail(batch: "list[tuple[Rows, asyncio.Future[Answers]]]", error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
