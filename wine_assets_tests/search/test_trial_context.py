import pickle

import pytest

from wine_assets.data import dataset
from wine_assets.models.registry import families
from wine_assets.search.objective import Objective, ObjectiveParams
from wine_assets.search.trial_context import TrialContext, run
from wine_assets.search.trials import Trial
from wine_assets_tests.support import fake_family
from wine_assets_tests.support.fake_family import ALLOCATED_MIB, trial
from wine_assets_tests.support.wine_frames import wine

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.fixture(scope="module")
def objective() -> Objective:
    return fake_family.trial_context().objective()


def test_a_context_is_the_same_in_another_process() -> None:
    X, y = dataset.features_and_target(wine())
    sent = pickle.loads(pickle.dumps(TrialContext(X, y, ObjectiveParams(), ("logistic_regression",), 128, 1.5)))  # noqa: S301 - our own
    asked = Trial(0, "logistic_regression", {"C": 0.5})
    assert (
        sent.objective().score(asked).scores
        == TrialContext(X, y, ObjectiveParams(), ()).objective().score(asked).scores
    )
    assert (sent.memory_mib, sent.timeout_s, sent.families) == (128, 1.5, ("logistic_regression",))


def test_every_family_can_be_warmed_up() -> None:
    X, y = dataset.features_and_target(wine())
    TrialContext(X, y, ObjectiveParams(), tuple(families())).warm()


def test_what_a_trial_took_is_part_of_its_outcome(objective: Objective) -> None:
    found = run(trial(0, "wait"), objective, None)
    assert (found.state, found.reason) == ("finished", "")
    assert found.seconds >= fake_family.FOLDS * 0.1
    assert run(trial(0, "allocate"), objective, None).memory_mib > ALLOCATED_MIB * 0.9


def test_a_failure_took_something_as_well(objective: Objective) -> None:
    found = run(trial(0, "raise"), objective, None)
    assert (found.state, found.reason) == ("failed", "LookupError: It was told to.")
    assert found.seconds > 0


def test_a_trial_that_took_more_memory_than_it_may_has_failed(objective: Objective) -> None:
    found = run(trial(0, "allocate"), objective, 128)
    assert (found.state, found.scores) == ("failed", ())
    assert found.reason.endswith("more than `failures.memory_mib` (128) allows.")
    assert found.memory_mib > ALLOCATED_MIB * 0.9
    assert run(trial(0, "allocate"), objective, 2 * ALLOCATED_MIB).state == "finished"


def test_memory_far_beyond_the_limit_is_refused_at_once(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the machine is asked for it."""
    monkeypatch.setattr(fake_family, "ALLOCATED_MIB", 3000)
    found = run(trial(0, "allocate"), objective, 64)
    assert found.state == "failed"
    assert "MemoryError: Unable to allocate 2.93 GiB" in found.reason
    assert found.memory_mib < 100
