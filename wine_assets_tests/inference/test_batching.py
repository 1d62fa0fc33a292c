import asyncio
import itertools
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any

import numpy as np
import pytest

from wine_assets.errors import InputError, WineAssetsError
from wine_assets.inference import AsyncPredictor, Batching, Predictor
from wine_assets_tests.support.published_models import Publishable
from wine_assets_tests.support.wine_frames import wine


class Counted(Predictor):
    """A predictor that remembers how many rows each of its runs had, and in which thread it was."""

    runs: list[tuple[int, str]]

    def answer(self, rows: Any) -> Any:
        self.runs.append((len(rows), threading.current_thread().name))
        return super().answer(rows)


class Held(Counted):
    """A predictor whose runs don't end before they may."""

    began: threading.Event
    may_end: threading.Event

    def answer(self, rows: Any) -> Any:
        self.began.set()
        self.may_end.wait(60)
        return super().answer(rows)


class Broken(Predictor):
    """A predictor that can't answer."""

    def answer(self, rows: Any) -> Any:
        raise ValueError(f"{len(rows)} rows are too many")


@pytest.fixture
def counted(first: Publishable) -> Counted:
    predictor = Counted(first.model)
    predictor.runs = []
    return predictor


@pytest.fixture(scope="module")
def rows() -> Any:
    return wine().drop(columns="target").to_numpy().astype(np.float32)


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a loop of its own, and fail rather than wait forever."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def _all(*calls: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*calls))


def test_callers_of_one_iteration_share_a_run(counted: Counted, rows: Any) -> None:
    """Callers of one iteration of the loop share a run, and get their own results."""

    async def ask() -> list[Any]:
        predictor = AsyncPredictor(counted)
        return await _all(*(predictor.predict_both(rows[at : at + 2]) for at in range(100)))

    answers = _awaited(ask())
    assert [count for count, _ in counted.runs] == [200]
    labels, probabilities = Predictor.answer(counted, rows)
    for at, (own_labels, own_probabilities) in enumerate(answers):
        np.testing.assert_array_equal(own_labels, labels[at : at + 2])
        np.testing.assert_array_equal(own_probabilities, probabilities[at : at + 2])


def test_every_way_of_asking_gives_what_the_predictor_gives(counted: Counted, rows: Any) -> None:
    values = dict(zip(counted.features, map(float, rows[0]), strict=True))

    async def ask() -> list[Any]:
        predictor = AsyncPredictor(counted)
        return await _all(predictor.predict(rows), predictor.predict_proba(rows), predictor.predict_one(**values))

    labels, probabilities, one = _awaited(ask())
    np.testing.assert_array_equal(labels, counted.predict(rows))
    np.testing.assert_array_equal(probabilities, counted.predict_proba(rows))
    assert one == counted.predict_one(**values)


def test_run_has_at_most_max_rows(counted: Counted, rows: Any) -> None:
    """A run has at most `max_rows` rows, unless a single caller has more."""

    async def ask() -> list[Any]:
        predictor = AsyncPredictor(counted, Batching(max_rows=10))
        sizes = (4, 4, 4, 30, 1)
        return await _all(*(predictor.predict(rows[:size]) for size in sizes))

    assert [len(answer) for answer in _awaited(ask())] == [4, 4, 4, 30, 1]
    assert [count for count, _ in counted.runs] == [8, 4, 30, 1]


def test_large_run_in_a_thread(first: Publishable, rows: Any) -> None:
    """While a thread runs a large batch, the event loop collects the next one."""
    held = Held(first.model)
    held.runs, held.began, held.may_end = [], threading.Event(), threading.Event()

    async def ask() -> None:
        predictor = AsyncPredictor(held, Batching(inline_rows=10))
        large = asyncio.ensure_future(predictor.predict(rows))
        await asyncio.get_running_loop().run_in_executor(None, held.began.wait)
        small = [asyncio.ensure_future(predictor.predict(rows[:1])) for _ in range(5)]
        await asyncio.sleep(0)
        held.may_end.set()
        await _all(large, *small)

    _awaited(ask())
    (large, thread), *rest = held.runs
    assert (large, thread != threading.main_thread().name) == (178, True)
    assert [count for count, _ in rest] == [5]


def test_many_runs_leave_the_loop_its_turns(counted: Counted, rows: Any) -> None:
    """What else is due comes between two runs."""

    async def ask() -> list[int]:
        predictor = AsyncPredictor(counted, Batching(max_rows=1, inline_rows=3))
        asked = [asyncio.ensure_future(predictor.predict(rows[:1])) for _ in range(12)]
        seen = [0]
        for _ in range(20):
            await asyncio.sleep(0)
            seen.append(len(counted.runs))
        await _all(*asked)
        return seen

    seen = _awaited(ask())
    assert seen[-1] == 12
    assert max(after - before for before, after in itertools.pairwise(seen)) == 4


def test_whoever_fills_a_run_ends_the_wait(counted: Counted, rows: Any) -> None:
    async def ask() -> None:
        predictor = AsyncPredictor(counted, Batching(max_rows=4, max_wait_s=59))
        first = asyncio.ensure_future(predictor.predict(rows[:2]))
        await asyncio.sleep(0)
        await asyncio.wait_for(_all(first, predictor.predict(rows[:2])), 30)
        await asyncio.wait_for(predictor.predict(rows[:5]), 30)

    _awaited(ask())
    assert [count for count, _ in counted.runs] == [4, 5]


def test_waiting_callers_share_later_runs(counted: Counted, rows: Any) -> None:
    """With `max_wait_s`, a caller shares its run with later ones."""

    async def ask() -> None:
        predictor = AsyncPredictor(counted, Batching(max_wait_s=0.5, max_rows=3))
        await predictor.predict(rows[:3])  # a full run, which is nothing to those who come later
        first = asyncio.ensure_future(predictor.predict(rows[:1]))
        for _ in range(3):
            await asyncio.sleep(0)
        await _all(first, predictor.predict(rows[:1]))

    _awaited(ask())
    assert [count for count, _ in counted.runs] == [3, 2]


@pytest.mark.parametrize("inline_rows", [0, 1000])
def test_error_of_a_run_reaches_every_caller(first: Publishable, rows: Any, inline_rows: int) -> None:
    """Each caller of a failed run gets the error, and later callers are answered."""

    async def ask() -> list[Any]:
        predictor = AsyncPredictor(Broken(first.model), Batching(inline_rows=inline_rows))
        failed = await asyncio.gather(*(predictor.predict(rows[:1]) for _ in range(3)), return_exceptions=True)
        predictor.predictor = Predictor(first.model)
        return [*failed, await predictor.predict(rows[:1])]

    *failed, answer = _awaited(ask())
    assert [str(error) for error in failed] == ["3 rows are too many"] * 3
    assert len(answer) == 1


def test_a_caller_that_gives_up_does_not_disturb_the_others(counted: Counted, rows: Any) -> None:
    async def ask() -> Any:
        predictor = AsyncPredictor(counted)
        gone, stays = (asyncio.ensure_future(predictor.predict(rows[at : at + 1])) for at in (0, 100))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert _awaited(ask()).tolist() == [1]
    assert [count for count, _ in counted.runs] == [1], "its own rows are nobody's any more"


def test_cancelled_callers_need_no_run(counted: Counted, rows: Any) -> None:
    """If all callers are cancelled, there is no run, and later callers are answered."""

    async def ask() -> Any:
        predictor = AsyncPredictor(counted)
        gone = [asyncio.ensure_future(predictor.predict(rows[:1])) for _ in range(3)]
        await asyncio.sleep(0)
        for caller in gone:
            caller.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        return await predictor.predict(rows[:2])

    assert len(_awaited(ask())) == 2
    assert [count for count, _ in counted.runs] == [2]


def test_caller_cancelled_during_a_thread_run(first: Publishable, rows: Any) -> None:
    """A caller that is cancelled while a thread runs its batch does not affect the others."""
    held = Held(first.model)
    held.runs, held.began, held.may_end = [], threading.Event(), threading.Event()

    async def ask() -> Any:
        predictor = AsyncPredictor(held, Batching(inline_rows=0))
        gone, stays = (asyncio.ensure_future(predictor.predict(rows[at : at + 1])) for at in (0, 100))
        await asyncio.get_running_loop().run_in_executor(None, held.began.wait)
        gone.cancel()
        held.may_end.set()
        return await stays

    assert _awaited(ask()).tolist() == [1]


def test_hundreds_of_callers_get_their_results(counted: Counted, rows: Any) -> None:
    """Each of hundreds of concurrent callers gets the results of its own rows.

    They come and go at their own pace, with every kind of run.
    """
    labels, probabilities = Predictor.answer(counted, rows)

    async def call(predictor: AsyncPredictor, number: int) -> bool:
        at, size = number * 7 % 170, number % 9
        for _ in range(number % 4):
            await asyncio.sleep(0)
        own = await predictor.predict_both(rows[at : at + size])
        return bool((own[0] == labels[at : at + size]).all() and (own[1] == probabilities[at : at + size]).all())

    async def ask() -> list[bool]:
        predictor = AsyncPredictor(counted, Batching(max_rows=64, inline_rows=32))
        return await _all(*(call(predictor, number) for number in range(600)))

    answered = _awaited(ask())
    assert (len(answered), all(answered)) == (600, True)
    assert max(count for count, _ in counted.runs) <= 64
    assert len(counted.runs) < 600 / 4
    assert {thread == threading.main_thread().name for _, thread in counted.runs} == {True, False}


def test_next_event_loop_is_served(counted: Counted, rows: Any) -> None:
    """A new event loop is served, whatever calls a previous one left."""
    predictor = AsyncPredictor(counted, Batching(max_wait_s=0.01))

    async def leave() -> None:
        predictor.submit(rows[:5])

    async def ask() -> Any:
        return await predictor.predict(rows[:1])

    _awaited(leave())
    for _ in range(3):
        assert _awaited(ask()).tolist() == [0]
    assert [count for count, _ in counted.runs] == [1, 1, 1]


def test_two_loops_at_once_are_refused(counted: Counted, rows: Any) -> None:
    async def ask() -> None:
        predictor = AsyncPredictor(counted)
        await predictor.predict(rows[:1])
        with pytest.raises(WineAssetsError, match=r"answers the coroutines of one event loop\. Make one for each"):
            await asyncio.to_thread(asyncio.run, predictor.predict(rows[:1]))

    _awaited(ask())


def test_a_value_that_cannot_be_used_is_named(counted: Counted, rows: Any) -> None:
    values: dict[str, Any] = dict(zip(counted.features, map(float, rows[0]), strict=True))

    async def ask(**changes: Any) -> None:
        await AsyncPredictor(counted).predict_one(**(values | changes))

    with pytest.raises(InputError, match="`hue` must be a number, got True"):
        _awaited(ask(hue=True))
    with pytest.raises(InputError, match="`self` is not known"):
        _awaited(ask(self=1))


def test_rows_that_cannot_be_used_are_refused_before_they_wait(counted: Counted, rows: Any) -> None:
    async def ask() -> list[Any]:
        predictor = AsyncPredictor(counted)
        bad = rows[:1] * np.nan
        return [*await asyncio.gather(predictor.predict(bad), predictor.predict(rows[:1]), return_exceptions=True)]

    error, answer = _awaited(ask())
    assert isinstance(error, InputError)
    assert (len(answer), [count for count, _ in counted.runs]) == (1, [1])


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_rows": 0}, "`max_rows` must be at least 1, got 0"),
        ({"inline_rows": -1}, "`inline_rows` must be at least 0, got -1"),
        ({"max_wait_s": -0.1}, "`max_wait_s` must be from 0 to 60 seconds, got -0.1"),
        ({"max_wait_s": 60.0}, "`max_wait_s` must be from 0 to 60 seconds, got 60"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Batching(**limits)
