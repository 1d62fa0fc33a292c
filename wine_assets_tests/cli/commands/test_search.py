"""`wine-assets search`, called in this process."""

import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from wine_assets.cli import signals
from wine_assets.cli.commands import search
from wine_assets.cli.output.trials_progress import TrialsProgress
from wine_assets.search.objective import Direction
from wine_assets.search.space import Space
from wine_assets.search.strategies import Random
from wine_assets.search.study import Budget, Study
from wine_assets.search.trials import TrialResult
from wine_assets_tests.support.command_line import QUICK, called, is_sentence

FEW = ("--folds", "2", "--trials", "3")


def searched(*arguments: str) -> dict[str, Any]:
    ended = called("search", "--json", *arguments)
    assert ended.status == 0, ended.err
    result: dict[str, Any] = json.loads(ended.out)
    return result


@pytest.mark.usefixtures("home")
def test_a_search_shows_what_it_found_and_where_all_of_it_lies() -> None:
    ended = called("search", *FEW, "--nested-folds", "2", "--study")
    assert ended.status == 0
    assert "Nested cross-validation, 2 outer folds: log_loss 0." in ended.out
    assert "optuna-dashboard " in ended.out
    assert "simplest within one standard error" in ended.out
    assert "3 trials: 3 finished, 0 pruned, 0 failed" in ended.out
    [table] = [line.partition(": ")[2] for line in ended.out.splitlines() if line.startswith("All trials")]
    assert len(pd.read_parquet(table)) == 3
    [report] = [line.split(maxsplit=1)[1] for line in ended.out.splitlines() if line.startswith("Report")]
    assert Path(report).exists()
    assert "trials  best log_loss 0." in ended.err + ended.out


@pytest.mark.usefixtures("home")
def test_a_machine_is_told_the_same_in_json() -> None:
    result = searched(*FEW, "--metric", "accuracy", "--seed", "3")
    assert (result["status"], result["metric"], result["trials"]) == ("succeeded", "accuracy", 3)
    trials = pd.read_parquet(result["table"])
    assert result["best"]["mean"] == trials["mean"].max()
    assert result["best"]["hyperparameters"]["C"] == trials.loc[result["best"]["number"], "C"]


@pytest.mark.usefixtures("home")
def test_a_space_is_written_as_people_write_it() -> None:
    space = ("--space", "C=0.1,1", "--space", "solver=lbfgs,liblinear")
    result = searched("--strategy", "grid", "--folds", "2", *space)
    trials = pd.read_parquet(result["table"])
    assert sorted(zip(trials["C"], trials["solver"], strict=True)) == [
        (0.1, "lbfgs"), (0.1, "liblinear"), (1.0, "lbfgs"), (1.0, "liblinear"),
    ]  # fmt: skip


@pytest.mark.usefixtures("home")
def test_families_are_searched_beside_each_other_each_over_its_own() -> None:
    result = searched(
        *("--strategy", "bayesian", "--trials", "12", "--folds", "2"),
        *("--family", "logistic_regression", "--family", "gradient_boosting"),
        *("--space", "logistic_regression.C=log:0.1:10", "--space", "gradient_boosting.max_iter=int:2:5"),
    )
    trials = pd.read_parquet(result["table"])
    assert {*trials["family"]} == {"logistic_regression", "gradient_boosting"}
    linear = trials["family"] == "logistic_regression"
    assert trials.loc[linear, "C"].between(0.1, 10).all()
    assert trials.loc[linear, "max_iter"].isna().all()
    assert trials.loc[~linear, "max_iter"].isin([2, 3, 4, 5]).all()


@pytest.mark.usefixtures("home")
def test_what_was_found_is_fitted_when_it_is_asked_for() -> None:
    best = searched(*FEW)["best"]["hyperparameters"]
    ended = called("run", "--json", *QUICK, "--hyperparameters", "best")
    assert json.loads(ended.out)["hyperparameters"] == best
    again = called("run", "--json", *QUICK, "--hyperparameters", "best")
    assert json.loads(again.out)["status"] == "nothing to do"


REFUSED = [
    (("--space", "C=log:0:1"), "`low` of a logarithmic range must be above 0, got 0"),
    (("--space", "C"), "--space must say what a hyperparameter is drawn from"),
    (("--space", "C=log:a:b"), "--space must be like C=log:1e-4:1e2"),
    (("--space", "C=1,2", "--space", "C=3"), "'C' is given twice for logistic_regression"),
    (("--space", "depth=1"), "logistic_regression has no hyperparameter 'depth'"),
    (("--family", "forest"), "There is no family 'forest'"),
    (("--strategy", "grid", "--space", "C=log:1:2"), "A grid needs a list of values for `C`"),
    (("--backend", "pool", "--address", "tcp://127.0.0.1:1"), "--address is for the backend dask or ray"),
    (("--chunk-trials", "5"), "--chunk-trials is for the backend steps, and the backend is pool"),
    (("--backend", "dask", "--trial-cpu", "2"), "--trial-cpu is for the backend ray"),
    (("--strategy", "grid", "--seed", "1"), "--seed is for the strategy random or bayesian, and the strategy is grid"),
    (("--trials", "x"), "Invalid value for '--trials': must be a whole number. See"),
    (("--seconds", "x"), "Invalid value for '--seconds': must be a number. See"),
    (("--space", "l1_ratio=0.5"), "Give --space solver=saga, or --space l1_ratio=0."),
    (("--sampler", "gp"), "--sampler is for the strategy bayesian, and the strategy is random"),
    (("--query", "select 1"), "--query needs exactly one of --database"),
    (("--trials", "0"), "greater than or equal to 1, got 0"),
]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("arguments", "sentence"), REFUSED, ids=[" ".join(given) for given, _ in REFUSED])
def test_what_cannot_be_searched_is_refused_in_a_sentence(
    home: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    ended = called("search", *arguments)
    assert ended.status == 2, ended.err
    assert sentence in ended.err
    assert is_sentence(ended.err), ended.err
    assert not (home / "searches").exists()


@pytest.mark.usefixtures("home")
def test_a_failed_search_ends_with_a_status_and_says_why() -> None:
    arguments = ("--timeout-s", "0.001", "--retries", "0", "--trials", "2", "--space", "scaler=none,standard")
    ended = called("search", *arguments, "--debug")
    assert ended.status == 1
    assert "The search failed: 2 of 2 trials failed" in ended.out
    assert "longer than 0.001 s" in ended.out
    assert "FailedSearchError" in ended.err


@pytest.mark.usefixtures("home")
def test_a_model_of_a_search_and_flags_beside_it_are_a_contradiction() -> None:
    for beside in (("--C", "1"), ("--reference",)):
        ended = called("run", "--hyperparameters", "best", *beside)
        assert ended.status == 2
        assert "sets every hyperparameter" in ended.err
    assert called("run", "--hyperparameters", "best").status == 1


def test_a_search_stops_at_the_next_outcome_when_the_exception_of_a_signal_was_lost() -> None:
    study = Study(Random(Space.checked({}), 0), Budget(trials=2), 0, Direction.MINIMIZE)
    with TrialsProgress(Console(quiet=True), "log_loss") as progress, signals.watch():
        hear = search._hearing(progress)
        hear(study, None)
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            hear(study, None)


def test_a_terminal_is_shown_a_bar() -> None:
    console = Console(force_terminal=True, width=120, record=True)
    study = Study(Random(Space.checked({}), 0), Budget(trials=2), 0, Direction.MINIMIZE)
    with console.capture() as shown, TrialsProgress(console, "log_loss") as progress:
        progress.hear(study, None)
        for _ in range(2):
            trial = study.ask()
            assert trial is not None
            study.tell(TrialResult(trial.number, 1, trial.family, trial.parameters, "finished", (0.25, 0.75)))
            progress.hear(study, None)
        progress._bar.refresh()
    assert "2/2" in shown.get()
    assert "best log_loss 0.5000" in shown.get()
