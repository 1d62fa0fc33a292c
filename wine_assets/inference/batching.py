"""Many callers of one event loop, answered together."""

import asyncio
import collections
from typing import Any

import msgspec
import numpy as np

from wine_assets.errors import InputError, WineAssetsError
from wine_assets.inference import features
from wine_assets.inference.features import Rows
from wine_assets.inference.predictor import Prediction, Predictor

Labels = np.ndarray[Any, np.dtype[np.int64]]
Answers = tuple[Labels, Rows]
Caller = tuple[Rows, "asyncio.Future[Answers]"]
"""Who waits: the rows, and where the answers to them go."""


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

    While a large run is made in a thread, callers that come are gathered for the next one. Arrays are read when the
    run is made, so a caller leaves them as they are until it is answered.
    """

    def __init__(self, predictor: Predictor, batching: Batching | None = None) -> None:
        self.predictor = predictor
        self.batching = batching or Batching()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin_anew()

    async def predict_both(self, rows: Any) -> Answers:
        """Return labels, int64 [n], and probabilities, float32 [n, classes]; raise InputError as `Predictor` does."""
        return await self.submit(features.rows_of(rows, self.predictor.features, self.predictor.extra))

    async def predict_proba(self, rows: Any) -> Rows:
        """Return the probabilities, float32 [n, classes]."""
        return (await self.predict_both(rows))[1]

    async def predict(self, rows: Any) -> Labels:
        """Return the labels, int64 [n]."""
        return (await self.predict_both(rows))[0]

    async def predict_one(self, /, **values: float) -> Prediction:
        """Return the answer for one row of values by feature name."""
        names = self.predictor.features
        features.check_names(values.keys(), names, self.predictor.extra)
        row = np.array([[features.number(values[name], name) for name in names]], dtype=np.float32)
        labels, probabilities = await self.submit(row)
        return Prediction(labels.item(), tuple(probabilities.tolist()[0]))

    def submit(self, rows: Rows) -> "asyncio.Future[Answers]":
        """Return the future answers to finite float32 rows [n, features], for callers that have checked them."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        future: asyncio.Future[Answers] = loop.create_future()
        self._waiting.append((rows, future))
        self._waiting_rows += len(rows)
        if self._running is None:
            self._arrange(loop)
        return future

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer another loop's coroutines from now on; whoever waited in the one before has ended with it."""
        if self._loop is not None and self._loop.is_running():
            raise WineAssetsError("An AsyncPredictor answers the coroutines of one event loop. Make one for each loop.")
        self._loop = loop
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._waiting: collections.deque[Caller] = collections.deque()
        self._waiting_rows = 0
        self._due: asyncio.Handle | None = None
        self._is_due_later = False
        self._running: asyncio.Task[None] | None = None

    def _arrange(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have those who wait answered after this turn of the loop, or later where they may wait and a run isn't full.

        The first caller's time counts, and whoever fills the run ends it.
        """
        is_soon = not self.batching.max_wait_s or self._waiting_rows >= self.batching.max_rows
        if self._due is not None and is_soon and self._is_due_later:
            self._due.cancel()
            self._due = None
        if self._due is None:
            self._is_due_later = not is_soon
            self._due = (
                loop.call_soon(self._answer_waiting)
                if is_soon
                else loop.call_later(self.batching.max_wait_s, self._answer_waiting)
            )

    def _answer_waiting(self) -> None:
        """Make the runs that are due; the loop has its turn after as many rows as may keep it from the others."""
        self._due = None
        answered = 0
        while self._waiting and answered <= self.batching.inline_rows:
            batch, total = self._next_batch()
            answered += total
            if total > self.batching.inline_rows:
                self._running = asyncio.ensure_future(self._answer_in_a_thread(batch))
                return
            _settle(batch, self.predictor)
        if self._waiting:
            self._due, self._is_due_later = asyncio.get_running_loop().call_soon(self._answer_waiting), False

    async def _answer_in_a_thread(self, batch: "list[Caller]") -> None:
        try:
            rows = _together(batch)
            answers = await asyncio.get_running_loop().run_in_executor(None, self.predictor.answer, rows)
        except Exception as error:  # noqa: BLE001 - each of the callers hears of it
            _fail(batch, error)
        else:
            _share(batch, answers)
        finally:
            self._running = None
            self._answer_waiting()

    def _next_batch(self) -> "tuple[list[Caller], int]":
        """Take the callers that fit into one run, at least one, in the order in which they came, and their rows."""
        batch: list[Caller] = []
        total = 0
        while self._waiting and (not batch or total + len(self._waiting[0][0]) <= self.batching.max_rows):
            caller = self._waiting.popleft()
            self._waiting_rows -= len(caller[0])
            if not caller[1].done():  # a caller may have given up
                batch.append(caller)
                total += len(caller[0])
        return batch, total


def _settle(batch: "list[Caller]", predictor: Predictor) -> None:
    if not batch:
        return
    try:
        answers = predictor.answer(_together(batch))
    except Exception as error:  # noqa: BLE001 - each of the callers hears of it
        _fail(batch, error)
    else:
        _share(batch, answers)


def _together(batch: "list[Caller]") -> Rows:
    return batch[0][0] if len(batch) == 1 else np.concatenate([rows for rows, _ in batch])


def _share(batch: "list[Caller]", answers: Answers) -> None:
    labels, probabilities = answers
    start = 0
    for rows, future in batch:
        end = start + len(rows)
        if not future.done():  # a caller may have given up
            future.set_result((labels[start:end], probabilities[start:end]))
        start = end


def _fail(batch: "list[Caller]", error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
