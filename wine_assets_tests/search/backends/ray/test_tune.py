"""Actors without Ray: who is given which trials. What Ray does with them is in the tests of backends."""

import pickle
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from ray import cloudpickle

from wine_assets.errors import FailedSearchError
from wine_assets.search.backends.ray import cluster
from wine_assets.search.backends.ray.backend import RayBackend
from wine_assets.search.backends.ray.tune import ACTOR, DONE, OUTCOMES, _Actor, _Actors, _searcher
from wine_assets.search.objective import Direction
from wine_assets.search.space import Distribution, FamilySpace, Space
from wine_assets.search.strategies import RandomStrategy, strategy
from wine_assets.search.study import Budget, Study
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers import remote_worker
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import NAME, trial


class TaskQueue:
    """A queue in this process, which knows what was left for whom."""

    def __init__(self) -> None:
        self.left: list[tuple[str, list[int] | None]] = []
        self.waiting: set[str] = set()
        self.put = SimpleNamespace(remote=self._put)
        self.withdraw = SimpleNamespace(remote=lambda actor: actor in self.waiting)

    def _put(self, actor: str, batch: str | None) -> None:
        numbers = [trial.number for trial in msgspec.json.decode(batch, type=list[Trial])] if batch else None
        self.left.append((actor, numbers))


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> TaskQueue:
    monkeypatch.setattr("ray.get", lambda answer: answer)
    return TaskQueue()


def make_study(trials: int, retries: int = 0) -> Study:
    x = Distribution(kind="float", low=0.0, high=1.0)
    space = Space.checked({NAME: FamilySpace(parameters={"x": x})})
    return Study(
        strategy(RandomStrategy(), space, Direction.MINIMIZE), Budget(trials=trials), retries, Direction.MINIMIZE
    )


def scored(actors: _Actors, actor: str, count: int) -> list[TrialResult]:
    trials = actors._running[actor][:count]
    return [TrialResult(one.number, one.attempt, one.family, one.parameters, "finished", (0.5,)) for one in trials]


def test_a_actor_is_given_a_batch_and_another_one_when_it_has_done_that(queue: TaskQueue) -> None:
    actors = _Actors(make_study(100), queue, 3, 2)
    assert actors.opened("a")
    assert actors.opened("b")
    actors.reported("a", scored(actors, "a", 2))
    assert queue.left == [("a", [0, 1, 2]), ("b", [3, 4, 5])]
    actors.reported("a", scored(actors, "a", 1))
    assert queue.left[2:] == [("a", [6, 7, 8])]


def test_batches_become_smaller_towards_the_end_so_that_no_actor_is_idle(queue: TaskQueue) -> None:
    actors = _Actors(make_study(16), queue, 8, 2)
    actors.opened("a")
    actors.opened("b")
    while actors._study.left() != 0:
        for actor in "ab":
            actors.reported(actor, scored(actors, actor, 1))
    sizes = [len(numbers) for _, numbers in queue.left if numbers]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1], sum(sizes)) == (4, 1, 16)


def test_all_actors_are_sent_home_when_there_is_nothing_more_and_not_before(queue: TaskQueue) -> None:
    """A trial that is still being run may fail, and be tried again."""
    actors = _Actors(make_study(2, retries=1), queue, 1, 2)
    actors.opened("a")
    actors.opened("b")
    actors.reported("a", scored(actors, "a", 1))
    assert queue.left == [("a", [0]), ("b", [1])]
    actors.reported("b", [failed(actors._running["b"][0], "no")])
    assert queue.left[2:] == [("a", [1])]
    actors.reported("a", scored(actors, "a", 1))
    assert queue.left[3:] == [("a", None), ("b", None)]
    actors.died("a")
    actors.died("b")
    assert actors.are_all_closed
    assert not actors.opened("c")
    assert [outcome.attempt for outcome in actors._study.results()] == [1, 2]


def test_of_a_actor_that_died_the_trial_that_was_run_has_failed_and_the_others_go_elsewhere(queue: TaskQueue) -> None:
    """They were not begun, and no attempt at them is lost."""
    actors = _Actors(make_study(100), queue, 3, 2)
    actors.opened("a")
    actors.opened("b")
    actors.reported("a", scored(actors, "a", 1))
    actors.died("a")
    [_, lost] = actors._study.results()
    assert (lost.number, lost.reason) == (1, "The worker of Ray that it ran on ended before it did.")
    assert actors.opened("c")
    assert queue.left[-1] == ("c", [2, 6, 7])


def test_an_idle_actor_takes_over_what_a_dead_one_left(queue: TaskQueue) -> None:
    actors = _Actors(make_study(2, retries=1), queue, 1, 2)
    actors.opened("a")
    actors.opened("b")
    actors.reported("a", scored(actors, "a", 1))
    actors.died("b")
    assert queue.left[2:] == [("a", [1])]


def test_a_actor_that_waits_for_a_node_that_is_gone_keeps_no_trial_from_the_others(queue: TaskQueue) -> None:
    """It would get a core only once they have ended, and they end only when its trials have."""
    actors = _Actors(make_study(3), queue, 1, 2)
    actors.opened("a")
    actors.opened("waiting")
    queue.waiting.add("waiting")
    actors.reported("a", scored(actors, "a", 1))
    actors.reported("a", scored(actors, "a", 1))
    assert queue.left == [("a", [0]), ("waiting", [1]), ("a", [2]), ("a", [1])]
    actors.reported("a", scored(actors, "a", 1))
    assert queue.left[4:] == [("a", None), ("waiting", None)]


def test_a_actor_that_has_taken_its_trials_runs_them(queue: TaskQueue) -> None:
    actors = _Actors(make_study(2), queue, 1, 2)
    actors.opened("a")
    actors.opened("b")
    actors.reported("a", scored(actors, "a", 1))
    assert queue.left == [("a", [0]), ("b", [1])]


def test_tune_is_told_to_wait_while_actors_are_at_work_and_to_end_when_none_is(queue: TaskQueue) -> None:
    searcher = _searcher(actors := _Actors(make_study(1), queue, 1, 2))

    assert searcher.suggest("a") == {ACTOR: "a"}
    assert searcher.suggest("b") is None
    outcomes = msgspec.json.encode(scored(actors, "a", 1)).decode()
    searcher.on_trial_result("a", {OUTCOMES: outcomes, DONE: False})
    searcher.on_trial_complete("a")
    assert searcher.suggest("b") == "FINISHED"
    searcher.save("nowhere")
    searcher.restore("nowhere")


def test_tune_keeps_no_copy_of_the_search(queue: TaskQueue) -> None:
    """What hears of outcomes may have what can't be pickled, such as the log of a run."""
    asked = make_study(1)
    queue.log = threading.Lock()  # type: ignore[attr-defined]
    searcher = _searcher(_Actors(asked, queue, 1, 2))
    assert type(pickle.loads(cloudpickle.dumps(searcher))) is object  # type: ignore[no-untyped-call]  # noqa: S301 - our own


# --- a actor ------------------------------------------------------------------


def actor(monkeypatch: pytest.MonkeyPatch, *batches: list[Trial] | None) -> _Actor:
    """Return a actor for which these batches were left; fits take as long as their x says, on a clock of our own."""
    waiting = [msgspec.json.encode(batch).decode() if batch is not None else None for batch in batches]
    now = [0.0]

    def run(asked: Trial, *_: Any) -> TrialResult:
        now[0] += asked.parameters["x"]
        return failed(asked, "no")

    monkeypatch.setattr("ray.get", lambda _: waiting.pop(0))
    monkeypatch.setattr("wine_assets.search.backends.ray.tune.time.monotonic", lambda: now[0])
    monkeypatch.setattr(remote_worker, "run_trial", run)
    made = _Actor()
    made.setup({ACTOR: "a"}, fake_family.trial_context(), SimpleNamespace(take=SimpleNamespace(remote=lambda _: None)))
    return made


def numbers(result: dict[str, Any]) -> list[int]:
    return [outcome.number for outcome in msgspec.json.decode(result[OUTCOMES], type=list[TrialResult])]


def test_trials_of_less_than_a_second_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    made = actor(monkeypatch, [trial(n, x=0.3) for n in range(6)], [trial(6, x=0.3)], None)
    results = [made.step() for _ in range(4)]
    assert [numbers(result) for result in results] == [[0, 1, 2, 3], [4, 5], [6], []]
    assert [result[DONE] for result in results] == [False, False, False, True]


def test_a_longer_trial_is_reported_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made = actor(monkeypatch, [trial(n, x=1.0) for n in range(2)])
    assert [numbers(made.step()), numbers(made.step())] == [[0], [1]]


def test_a_actor_that_ends_ends_its_worker_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    made = actor(monkeypatch)
    monkeypatch.setattr(remote_worker, "release", lambda: ended.append(True))
    made.cleanup()
    assert ended == [True]


# --- clusters ----------------------------------------------------------------


@pytest.fixture
def listening() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_what_is_no_cluster_is_named(monkeypatch: pytest.MonkeyPatch, listening: str) -> None:
    """Ray itself looks for one for minutes."""

    def init(**given: Any) -> None:
        raise ConnectionError(f"no Ray at {given['address']}")

    monkeypatch.setattr("ray.init", init)
    with (
        pytest.raises(FailedSearchError, match=rf"no Ray cluster at '{listening}' \(no Ray at {listening}\)"),
        cluster.cluster(RayBackend(address=listening)),
    ):
        pass


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_at_which_nobody_listens_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, listening: str, scheme: str
) -> None:
    """Ray would try for minutes, and hear of no signal; what is no host and port, it may know."""
    monkeypatch.setattr("ray.init", pytest.fail)
    address = f"{scheme}127.0.0.1:1"
    with (
        pytest.raises(FailedSearchError, match=rf"no Ray cluster at '{address}' \(.*refused.*\). Start one, or"),
        cluster.cluster(RayBackend(address=address)),
    ):
        pass
    for known in ("auto", scheme + listening):
        cluster._require_listener(known)


def test_a_search_in_a_process_that_is_on_a_cluster_uses_that_and_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.shutdown", pytest.fail)
    with cluster.cluster(RayBackend()) as found:
        assert found.is_initialized()
