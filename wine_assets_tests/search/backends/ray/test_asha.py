"""Trials in stages: what is reported at each rung, and what becomes of those that ASHA stops."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from wine_assets.errors import SearchError
from wine_assets.search.backends.ray.asha import (
    DONE,
    IS_WHOLE,
    ITERATIONS,
    LOSS,
    OUTCOME,
    TRIAL,
    _searcher,
    _Staged,
    _Stages,
)
from wine_assets.search.backends.ray.backend import RayBackend
from wine_assets.search.backends.ray.params import Asha
from wine_assets.search.objective import Direction, ObjectiveParams
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search
from wine_assets.search.space import Distribution, FamilySpace, Space
from wine_assets.search.strategies import RandomStrategy, strategy
from wine_assets.search.study import Budget, Failures, Study
from wine_assets.search.trial_context import TrialContext
from wine_assets.search.trials import Trial, TrialResult, failed
from wine_assets.search.workers import remote_worker
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import FOLDS, NAME, templates, trial
from wine_assets_tests.support.wine_frames import wine

ASHA = Asha(grace_period=2, reduction_factor=2)
WORKERS = 2
X = Distribution(kind="float", low=0.0, high=1.0)


@pytest.mark.parametrize(
    ("iterations", "rungs"), [(1, [1]), (2, [2]), (3, [2, 3]), (8, [2, 4, 8]), (20, [2, 4, 8, 16, 20])]
)
def test_a_trial_is_looked_at_after_the_grace_period_and_ever_more_rarely(iterations: int, rungs: list[int]) -> None:
    assert ASHA.rungs(iterations) == rungs


@pytest.mark.parametrize("fields", [{"grace_period": 0}, {"reduction_factor": 1}, {"max_t": 9}])
def test_settings_of_asha_that_can_not_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SearchError, match=rf"{next(iter(fields))}.* (got|is not known)"):
        RayBackend.model_validate({"asha": fields})


def test_a_search_of_families_without_progress_is_refused_before_ray_is_asked() -> None:
    context = TrialContext(None, None, ObjectiveParams(), ("logistic_regression",))
    with pytest.raises(
        SearchError,
        match=r"families that report progress, got logistic_regression, of which none does\. Search",
    ):
        RayBackend(asha=ASHA).run(make_study(1), context)


# --- a trial -----------------------------------------------------------------


def stages(monkeypatch: pytest.MonkeyPatch, asked: Trial, state: str = "finished") -> tuple[_Stages, list[Trial]]:
    """Return an actor that was given a trial, and what it has its worker run, each of a second."""
    ran: list[Trial] = []

    def run(trial: Trial, *_: Any) -> TrialResult:
        ran.append(trial)
        return TrialResult(trial.number, trial.attempt, trial.family, trial.parameters, state, (0.4, 0.6), 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(remote_worker, "run_trial", run)
    made = _Stages()
    made.setup({TRIAL: msgspec.json.encode(asked).decode()}, fake_family.trial_context(), ASHA)
    return made, ran


def test_each_step_comes_to_the_next_rung_and_the_last_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    made, ran = stages(monkeypatch, trial(3, iterations=8))
    results = [made.step() for _ in range(3)]
    assert [result[ITERATIONS] for result in results] == [one.iterations for one in ran] == [2, 4, 8]
    assert [result[LOSS] for result in results] == [0.5] * 3
    assert [result[IS_WHOLE] for result in results] == [result[DONE] for result in results] == [False, False, True]
    assert [one.spent_s for one in ran] == [0.0, 1.0, 2.0]
    assert msgspec.json.decode(results[-1][OUTCOME], type=TrialResult).seconds == 3.0


def test_an_actor_takes_another_trial_when_one_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    made, ran = stages(monkeypatch, trial(3, iterations=8))
    made.step()
    assert made.reset_config({TRIAL: msgspec.json.encode(trial(4, iterations=3)).decode()})
    made.step()
    assert made.step()[DONE]
    assert [(one.number, one.iterations, one.spent_s) for one in ran] == [(3, 2, 0.0), (4, 2, 0.0), (4, 3, 1.0)]


def test_a_family_without_progress_runs_whole_and_is_compared_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made, [*_] = stages(monkeypatch, Trial(0, "logistic_regression", {"C": 1.0}))
    result = made.step()
    assert (result[ITERATIONS], result[IS_WHOLE], result[DONE]) == (0, True, True)


def test_a_failure_ends_a_trial_and_is_compared_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = stages(monkeypatch, trial(0), "failed")
    result = made.step()
    assert (result[ITERATIONS], result[LOSS], result[IS_WHOLE], result[DONE]) == (0, float("inf"), True, True)


# --- what becomes of it ------------------------------------------------------


def make_study(trials: int) -> Study:
    chosen = strategy(RandomStrategy(), Space.checked({NAME: FamilySpace(parameters={"x": X})}), Direction.MINIMIZE)
    return Study(chosen, Budget(trials=trials), 0, Direction.MINIMIZE)


def reported(asked: Trial, iterations: int, *, is_whole: bool) -> dict[str, Any]:
    outcome = TrialResult(asked.number, 1, asked.family, asked.parameters, "finished", (0.5,))
    return {OUTCOME: msgspec.json.encode(outcome).decode(), ITERATIONS: iterations, IS_WHOLE: is_whole}


def test_what_tune_stops_is_pruned_what_it_loses_has_failed_and_the_rest_has_finished() -> None:
    asked = make_study(3)
    searcher = _searcher(_Staged(asked, ASHA))
    given = {name: msgspec.json.decode(searcher.suggest(name)[TRIAL], type=Trial) for name in "abc"}
    assert searcher.suggest("d") is None
    searcher.on_trial_complete("a", reported(given["a"], 8, is_whole=True))
    searcher.on_trial_complete("b", reported(given["b"], 4, is_whole=False))
    searcher.on_trial_complete("c", None, error=True)
    assert [(found.state, found.reason) for found in asked.results()] == [
        ("finished", ""),
        (
            "pruned",
            "ASHA stopped it after 4 of 8 iterations, at rung 2: of the trials that came as far, one in 2 goes on.",
        ),
        ("failed", "The worker of Ray that it ran on ended before it did."),
    ]
    assert searcher.suggest("d") == "FINISHED"
    searcher.save("nowhere")
    searcher.restore("nowhere")


def test_a_failure_comes_to_the_journal_as_it_is() -> None:
    staged = _Staged(asked := make_study(1), ASHA)
    lost = failed(staged.begun("a") or trial(9), "LookupError: no")
    staged.ended("a", {OUTCOME: msgspec.json.encode(lost).decode(), ITERATIONS: 0, IS_WHOLE: True})
    assert asked.results() == [lost]


@pytest.mark.process
def test_asha_stops_hopeless_trials_on_a_real_cluster(trace: Path, tmp_path: Path) -> None:
    """Those that finish have the scores of whole fits, failures are values, and actors are used again and again."""
    acts = Distribution(kind="categorical", values=["fit", "wait", "raise", "die"])
    boosted = {"learning_rate": Distribution(kind="float", log=True, low=1e-3, high=0.5)}
    asked = SearchParams(
        strategy=RandomStrategy(seed=1),
        space={
            NAME: FamilySpace(parameters={"x": X, "act": acts}, fixed={"trace": str(trace)}),
            "gradient_boosting": FamilySpace(parameters=boosted, fixed={"max_iter": 9, "min_samples_leaf": 5}),
            "logistic_regression": FamilySpace(
                parameters={"C": Distribution(kind="float", log=True, low=1e-3, high=1.0)}
            ),
        },
        objective=ObjectiveParams(folds=FOLDS),
        budget=Budget(trials=30),
        failures=Failures(retries=1, min_success_ratio=0.1),
    )
    search = Search.open(asked, fake_family.ActingFrame(wine()), tmp_path)
    found = search.run(RayBackend(workers=WORKERS, asha=ASHA), lambda *_: None).trials
    assert [outcome.number for outcome in found] == [*range(30)]
    objective = search.context.objective()
    for outcome in found:
        act = outcome.parameters.get("act", "fit")
        assert (outcome.state == "failed") == (act in ("raise", "die")), outcome
        if outcome.state == "finished":
            again = Trial(outcome.number, outcome.family, {**outcome.parameters})
            assert outcome.scores == objective.score(again).scores
        if outcome.state == "pruned":
            assert outcome.family != "logistic_regression"
            assert "ASHA stopped it after" in outcome.reason
    assert {outcome.state for outcome in found if outcome.family == "gradient_boosting"} == {"finished", "pruned"}
    assert len({*templates(trace)}) <= WORKERS + 1, "the test's own process is one"
