"""Batching of concurrent asyncio calls into few runs of the model."""

import asyncio
import collections
from typing import Any

import msgspec
import numpy as np

from wine_assets.errors import InputError, WineAssetsError
from wine_assets.inference import features
from wine_assets.inference.features import Rows
from wine_assets.inference.predictor import Labels, Prediction, Predictor

LabelsAndProbabilities = tuple[Labels, Rows]
Caller = tuple[Rows, "asyncio.Future[LabelsAndProbabilities]"]
"""The rows of a call that waits, and the future of their labels and probabilities."""


class Batching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many callers share a run, and how long the first of them waits for others.

    Raise InputError for invalid limits.
    """

    max_rows: int = 1024
    """Rows of one run; further callers share the next one."""
    max_wait_s: float = 0.0
    """Seconds that a caller waits for others; 0 batches the calls of one iteration of the event loop."""
    inline_rows: int = 256
    """Rows up to which a run is faster in the event loop's thread than in another one."""

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, value, minimum in (("max_rows", self.max_rows, 1), ("inline_rows", self.inline_rows, 0)):
            if value < minimum:
                raise InputError(f"`{name}` must be at least {minimum}, got {value}.")
        if not 0 <= self.max_wait_s < 60:  # noqa: PLR2004 - a caller that waits longer has given up
            raise InputError(f"`max_wait_s` must be from 0 to 60 seconds, got {self.max_wait_s}.")


class AsyncPredictor:
    """A predictor for the coroutines of one event loop that batches their calls.

    While a large run is computed in a thread, new calls are batched for the next one. Arrays are read when the run
    starts: a caller must not change them before its call returns.
    """

    def __init__(self, predictor: Predictor, batching: Batching | None = None) -> None:
        self.predictor = predictor
        self.batching = batching or Batching()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reset()

    async def predict_both(self, rows: Any) -> LabelsAndProbabilities:
        """Return labels, int64 [n], and probabilities, float32 [n, classes]; raise InputError as `Predictor` does."""
        return await self.submit(features.rows_of(rows, self.predictor.features, self.predictor.extra))

    async def predict_proba(self, rows: Any) -> Rows:
        """Return the probabilities, float32 [n, classes]."""
        return (await self.predict_both(rows))[1]

    async def predict(self, rows: Any) -> Labels:
        """Return the labels, int64 [n]."""
        return (await self.predict_both(rows))[0]

    async def predict_one(self, /, **values: float) -> Prediction:
        """Return the prediction for one row of values by feature name."""
        names = self.predictor.features
        features.check_names(values.keys(), names, self.predictor.extra)
        row = np.array([[features.to_number(values[name], name) for name in names]], dtype=np.float32)
        labels, probabilities = await self.submit(row)
        return Prediction(labels.item(), tuple(probabilities.tolist()[0]))

    def submit(self, rows: Rows) -> "asyncio.Future[LabelsAndProbabilities]":
        """Return the future labels and probabilities of rows that `features.rows_of` returned."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind_to(loop)
        future: asyncio.Future[LabelsAndProbabilities] = loop.create_future()
        self._waiting.append((rows, future))
        self._waiting_rows += len(rows)
        if self._running is None:
            self._schedule(loop)
        return future

    def _bind_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another event loop from now on; the callers of a loop that ended are gone."""
        if self._loop is not None and self._loop.is_running():
            raise WineAssetsError("An AsyncPredictor answers the coroutines of one event loop. Make one for each loop.")
        self._loop = loop
        self._reset()

    def _reset(self) -> None:
        self._waiting: collections.deque[Caller] = collections.deque()
        self._waiting_rows = 0
        self._due: asyncio.Handle | None = None
        self._is_due_later = False
        self._running: asyncio.Task[None] | None = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Schedule the next run: in this iteration of the loop if it is full or callers don't wait, else later.

        `max_wait_s` counts from the first caller.
        """
        is_soon = not self.batching.max_wait_s or self._waiting_rows >= self.batching.max_rows
        if self._due is not None and is_soon and self._is_due_later:
            self._due.cancel()
            self._due = None
        if self._due is None:
            self._is_due_later = not is_soon
            self._due = (
                loop.call_soon(self._run_due) if is_soon else loop.call_later(self.batching.max_wait_s, self._run_due)
            )

    def _run_due(self) -> None:
        """Start the runs that are due; give the event loop its turn after `inline_rows` rows."""
        self._due = None
        rows_run = 0
        while self._waiting and rows_run <= self.batching.inline_rows:
            batch, rows = self._next_batch()
            rows_run += rows
            if rows > self.batching.inline_rows:
                self._running = asyncio.ensure_future(self._run_in_thread(batch))
                return
            if batch:
                self._run_inline(batch)
        if self._waiting:
            self._due, self._is_due_later = asyncio.get_running_loop().call_soon(self._run_due), False

    def _run_inline(self, batch: list[Caller]) -> None:
        try:
            answers = self.predictor.answer(_concatenate(batch))
        except Exception as error:  # noqa: BLE001 - each of the callers gets it
            _set_exception(batch, error)
        else:
            _set_results(batch, answers)

    async def _run_in_thread(self, batch: list[Caller]) -> None:
        try:
            rows = _concatenate(batch)
            answers = await asyncio.get_running_loop().run_in_executor(None, self.predictor.answer, rows)
        except Exception as error:  # noqa: BLE001 - each of the callers gets it
            _set_exception(batch, error)
        else:
            _set_results(batch, answers)
        finally:
            self._running = None
            self._run_due()

    def _next_batch(self) -> tuple[list[Caller], int]:
        """Return the callers that fit into one run, at least one, in the order of their calls; and their rows."""
        batch: list[Caller] = []
        total = 0
        while self._waiting and (not batch or total + len(self._waiting[0][0]) <= self.batching.max_rows):
            caller = self._waiting.popleft()
            self._waiting_rows -= len(caller[0])
            if not caller[1].done():  # the caller may have been cancelled
                batch.append(caller)
                total += len(caller[0])
        return batch, total


def _concatenate(batch: list[Caller]) -> Rows:
    return batch[0][0] if len(batch) == 1 else np.concatenate([rows for rows, _ in batch])


def _set_results(batch: list[Caller], answers: LabelsAndProbabilities) -> None:
    labels, probabilities = answers
    start = 0
    for rows, future in batch:
        end = start + len(rows)
        if not future.done():  # the caller may have been cancelled
            future.set_result((labels[start:end], probabilities[start:end]))
        start = end


def _set_exception(batch: list[Caller], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
