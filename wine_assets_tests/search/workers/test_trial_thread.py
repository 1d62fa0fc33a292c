import os
import threading
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl

from wine_assets.search.trials import Trial, TrialResult
from wine_assets.search.workers.trial_thread import trial_thread
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import pids


def test_a_trial_runs_in_another_thread_of_this_process(trace: Path) -> None:
    before = threading.active_count()
    with trial_thread(fake_family.trial_context().objective()) as run:
        assert threading.active_count() == before + 1
        assert run(fake_family.trial(0, trace=str(trace))).state == "finished"
        assert run(fake_family.trial(1, "raise")).reason == "LookupError: It was told to."
    assert {*pids(trace)} == {os.getpid()}
    assert threading.active_count() == before


class _Asking:
    """An objective that does something else."""

    def __init__(self, do: Any) -> None:
        self.score = do


def test_a_trial_has_one_core() -> None:
    def threads(trial: Trial) -> TrialResult:
        counts = {library["num_threads"] for library in threadpoolctl.threadpool_info()}
        return TrialResult(trial.number, 1, trial.family, {"threads": [*counts]}, "finished", (0.0,))

    objective: Any = _Asking(threads)
    with trial_thread(objective) as run:
        assert run(fake_family.trial(0)).parameters == {"threads": [1]}


def test_what_is_no_outcome_is_raised_where_the_trial_was_asked_for() -> None:
    def leave(_: Trial) -> TrialResult:
        raise SystemExit(3)

    objective: Any = _Asking(leave)
    with pytest.raises(SystemExit), trial_thread(objective) as run:
        run(fake_family.trial(0))
