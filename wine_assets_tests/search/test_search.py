import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sklearn

from wine_assets.errors import ConflictError, FailedSearchError, SearchError
from wine_assets.search import objective
from wine_assets.search.backends.pool import PoolBackend
from wine_assets.search.objective import ObjectiveParams
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets.search.space import Distribution, FamilySpace
from wine_assets.search.strategies import BayesianStrategy, RandomStrategy, StrategyParams
from wine_assets.search.study import Budget, Failures, Study
from wine_assets.search.trials import TrialResult
from wine_assets_tests.support import fake_family
from wine_assets_tests.support import searches as searching
from wine_assets_tests.support.fake_family import FOLDS, NAME, fits, pids
from wine_assets_tests.support.processes import PATIENCE_S, all_gone, descendants, eventually
from wine_assets_tests.support.wine_frames import wine


def params(trace: Path, act: str = "fit", once: str = "", **fields: Any) -> SearchParams:
    """Return a search over x whose every fit leaves a trace."""
    fixed = {"act": act, "trace": str(trace), "once": once}
    space = FamilySpace(parameters={"x": Distribution(kind="float", low=0.0, high=1.0)}, fixed=fixed)
    given = {"space": {NAME: space}, "objective": ObjectiveParams(folds=FOLDS), **fields}
    return SearchParams.model_validate({name: value for name, value in given.items() if value is not None})


def run(params: SearchParams, folder: Path, workers: int = 1) -> list[TrialResult]:
    search = Search.open(params, fake_family.frame(), folder)
    return [*search.run(PoolBackend(workers=workers), lambda *_: None).trials]


def what(outcomes: list[TrialResult]) -> list[tuple[Any, ...]]:
    """Return what a search came to, without what it took."""
    return [(found.number, found.state, found.parameters["x"], found.scores) for found in outcomes]


@contextlib.contextmanager
def searching_process(params: SearchParams, folder: Path, workers: int) -> Iterator["subprocess.Popen[str]"]:
    backend = PoolBackend(workers=workers).model_dump_json()
    command = [sys.executable, "-m", searching.__name__, str(folder), params.model_dump_json(), backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


# --- going on ----------------------------------------------------------------


def test_the_same_search_fits_nothing_twice(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, budget=Budget(trials=5))
    first = run(asked, tmp_path)
    again = run(asked, tmp_path)
    assert again == first
    assert len(pids(trace)) == 5 * FOLDS


def test_a_search_for_more_trials_fits_those_alone(trace: Path, tmp_path: Path) -> None:
    few = run(params(trace, budget=Budget(trials=3)), tmp_path)
    many = run(params(trace, budget=Budget(trials=8)), tmp_path)
    assert many[:3] == few
    assert len(pids(trace)) == 8 * FOLDS
    assert run(params(trace, budget=Budget(trials=3)), tmp_path) == few


@pytest.mark.process
@pytest.mark.parametrize(
    ("strategy", "workers"), [(None, 2), (BayesianStrategy(startup_trials=4), 1)], ids=["random", "bayesian"]
)
def test_a_search_that_is_killed_in_the_middle_goes_on_as_if_it_had_not_been(
    trace: Path, tmp_path: Path, strategy: Any, workers: int
) -> None:
    """No trial that had ended is fitted again; no process is left; the outcome is that of a search left in peace."""
    asked = params(trace, "wait", strategy=strategy, budget=Budget(trials=24), failures=Failures(timeout_s=60))
    with searching_process(asked, tmp_path, workers) as process:
        eventually(lambda: len(pids(trace)) >= 8 * FOLDS)
        own = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    eventually(lambda: all_gone(own))
    assert len(own) == 1 + workers
    search = Search.open(asked, fake_family.frame(), tmp_path)
    ended = {found.parameters["x"] for found in search.journal.results()}
    assert 4 <= len(ended) < 24
    before = fits(trace)
    resumed = run(asked, tmp_path, workers)
    after = fits(trace) - before
    assert after == {x: len(found.scores) for found in resumed if (x := found.parameters["x"]) not in ended}
    assert len(after) == 24 - len(ended)
    in_peace = params(trace, "wait", strategy=strategy, budget=Budget(trials=24))
    assert what(resumed) == what(run(in_peace, tmp_path / "another"))


@pytest.mark.process
def test_two_searches_of_the_same_at_once_are_one_too_many(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, "wait", budget=Budget(trials=1000))
    with searching_process(asked, tmp_path, 1):
        eventually(lambda: pids(trace))
        with pytest.raises(ConflictError, match="Another process is at this same search"):
            run(asked, tmp_path)
        other = params(trace, "fit", budget=Budget(trials=2))
        assert len(run(other, tmp_path)) == 2


def test_a_journal_whose_last_line_is_torn_loses_that_trial_alone(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, budget=Budget(trials=4))
    whole = run(asked, tmp_path)
    [journal] = tmp_path.glob("*/journal.jsonl")
    journal.write_bytes(journal.read_bytes()[:-20])
    assert what(run(asked, tmp_path)) == what(whole)
    assert sorted(fits(trace).values()) == [FOLDS, FOLDS, FOLDS, 2 * FOLDS]


@pytest.mark.process
def test_trials_that_failed_are_tried_again_once_they_are_allowed_more(trace: Path, tmp_path: Path) -> None:
    def limited(seconds: float) -> SearchParams:
        failures = Failures(timeout_s=seconds, retries=0)
        return params(trace, "wait", budget=Budget(trials=2), failures=failures)

    with pytest.raises(FailedSearchError, match=r"2 of 2 trials failed.*longer than 0\.001 s"):
        run(limited(0.001), tmp_path)
    with pytest.raises(FailedSearchError, match=r"2 of 2 trials failed.*longer than 0\.001 s"):
        run(limited(0.001), tmp_path)
    assert [found.state for found in run(limited(60), tmp_path)] == ["finished"] * 2
    [journal] = tmp_path.glob("*/journal.jsonl")
    assert len(journal.read_bytes().splitlines()) == 4


def test_lines_that_this_search_cannot_have_written_are_no_outcomes_of_it(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, budget=Budget(trials=3))
    whole = run(asked, tmp_path)
    [journal] = tmp_path.glob("*/journal.jsonl")
    strange = [
        msgspec.structs.replace(whole[0], number=-1),
        msgspec.structs.replace(whole[0], family="forest"),
        msgspec.structs.replace(whole[0], parameters={"y": 1.0}),
        msgspec.structs.replace(whole[0], scores=(0.0,)),
    ]
    journal.write_bytes(b"\n".join(map(msgspec.json.encode, strange)) + b"\n")
    assert what(run(asked, tmp_path)) == what(whole)


def test_too_few_rows_are_refused_before_there_is_a_journal(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, objective=ObjectiveParams(folds=99), failures=Failures(timeout_s=60))
    with pytest.raises(SearchError, match=r"`objective.folds` is 99, but the smaller class has"):
        Search.open(asked, fake_family.frame(), tmp_path)
    assert not [*tmp_path.glob("*/search.json")]


# --- which search it is ------------------------------------------------------


def folder(asked: SearchParams, frame: Any, searches: Path) -> Path:
    return Search.open(asked, frame, searches).journal.folder


def test_each_search_of_each_frame_has_a_journal_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each version of scikit-learn, whose scores may be others."""
    asked, other = SearchParams(), SearchParams(objective=ObjectiveParams(seed=1))
    frame = wine()
    changed = frame.assign(alcohol=frame["alcohol"] + 1)
    folders = {folder(asked, frame, tmp_path), folder(other, frame, tmp_path), folder(asked, changed, tmp_path)}
    assert len(folders) == 3
    longer = SearchParams(budget=Budget(trials=99), failures=Failures(retries=3))
    assert folder(longer, wine(), tmp_path) in folders
    about = json.loads((folder(asked, frame, tmp_path) / "search.json").read_text())
    assert about["search"] == asked.identity()
    assert about["version"].endswith(f"+scikit-learn-{sklearn.__version__}")
    monkeypatch.setattr(objective, "VERSION", "1+scikit-learn-0.0")
    assert folder(asked, frame, tmp_path) not in folders


@pytest.mark.parametrize("strategy", [RandomStrategy(), BayesianStrategy()], ids=lambda strategy: strategy.kind)
def test_equal_candidates_are_fitted_once(trace: Path, tmp_path: Path, strategy: StrategyParams) -> None:
    """A space of two candidates ends a search for five trials after two, and the sentence says so."""
    space = FamilySpace(
        parameters={"x": Distribution(kind="categorical", values=[0.25, 0.5])}, fixed={"trace": str(trace)}
    )
    asked = params(trace, strategy=strategy, space={NAME: space}, budget=Budget(trials=5))
    search = Search.open(asked, fake_family.frame(), tmp_path)
    result = search.run(PoolBackend(workers=1), lambda *_: None)
    assert fits(trace) == {0.25: FOLDS, 0.5: FOLDS}
    assert search.sentence(result).endswith("The space has 2 candidates, and no more trials are run than that.")


# --- what it tells -----------------------------------------------------------


def test_every_outcome_is_told_after_it_is_in_the_journal(trace: Path, tmp_path: Path) -> None:
    search = Search.open(params(trace, budget=Budget(trials=4)), fake_family.frame(), tmp_path)
    told: list[tuple[int, int, int | None]] = []

    def heard(study: Study, outcome: TrialResult) -> None:
        told.append((outcome.number, len(search.journal.results()), study.left()))

    search.run(PoolBackend(workers=1), heard)
    assert told == [(0, 1, 3), (1, 2, 2), (2, 3, 1), (3, 4, 0)]


def test_a_search_of_which_too_much_fails_has_failed_and_what_was_tried_stays(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, "raise", budget=Budget(trials=3), failures=Failures(retries=2))
    with pytest.raises(FailedSearchError, match=r"3 of 3 trials failed.*LookupError: It was told to"):
        run(asked, tmp_path)
    search = Search.open(asked, fake_family.frame(), tmp_path)
    assert [(found.number, found.attempt) for found in search.journal.results()] == [
        (number, attempt) for number in range(3) for attempt in (1, 2, 3)
    ]


def test_a_trial_that_fails_once_is_tried_again_and_counts(trace: Path, tmp_path: Path) -> None:
    asked = params(trace, "raise", str(tmp_path / "once"), budget=Budget(trials=3))
    assert [(found.state, found.attempt) for found in run(asked, tmp_path)] == [
        ("finished", 2),
        ("finished", 1),
        ("finished", 1),
    ]


def test_a_step_has_its_own_numbers(trace: Path, tmp_path: Path) -> None:
    search = Search.open(params(trace, budget=Budget(trials=6)), fake_family.frame(), tmp_path)
    study = search.study(lambda *_: None, range(2, 4))
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    assert (first.number, second.number, study.ask()) == (2, 3, None)


@pytest.mark.parametrize(("repeats", "times"), [(1, "once"), (3, "3 times")])
def test_it_says_what_was_searched(trace: Path, tmp_path: Path, repeats: int, times: str) -> None:
    asked = params(trace, budget=Budget(trials=2), objective=ObjectiveParams(folds=FOLDS, repeats=repeats))
    search = Search.open(asked, fake_family.frame(), tmp_path)
    assert search.sentence(search.run(PoolBackend(workers=1), lambda *_: None)) == (
        f"2 trials of acting by the strategy random: 2 finished, 0 pruned, 0 failed. "
        f"20 rows, each held out {times} by "
        "stratified 2-fold cross-validation (seed 0)."
    )
