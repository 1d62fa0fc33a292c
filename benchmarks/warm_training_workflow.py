"""Warm `training_workflow({"C": 0.01})` over the same work done with scikit-learn directly: at most 1.15.

Wall milliseconds of one call, everything imported and called before, in turns within one process with one BLAS thread
(the small fit is several times faster so, which leaves less room to hide what ours adds). Both return a
`LogisticRegression`, and the script refuses to compare two that are not equal to the last bit.
"""

from typing import Any

import measure
from measure import Figure

HYPERPARAMETERS = {"C": 0.01}


def figures(runs: int) -> list[Figure]:
    """Time the two calls in a process of their own."""
    ours, direct = measure.ask_child(__file__, "in_turns", str(runs), env=measure.one_thread())
    return [Figure("warm training_workflow, wall", "ms", ours, direct, "scikit-learn directly", 1.15)]


def in_turns(runs: str) -> list[list[float]]:
    """Milliseconds of each of the calls, ours first."""
    from wine_assets.workflow import training_workflow

    _refuse_unless_equal(training_workflow(HYPERPARAMETERS), directly())
    return measure.interleaved(
        int(runs),
        lambda: 1e3 * measure.seconds(lambda: training_workflow(HYPERPARAMETERS)),
        lambda: 1e3 * measure.seconds(directly),
    )


def directly() -> Any:
    """Do the reference workflow in four lines of scikit-learn."""
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression

    frame = load_wine(as_frame=True).frame
    target = frame["target"].where(frame["target"] == 0, 1)
    return LogisticRegression(max_iter=5000, **HYPERPARAMETERS).fit(frame.drop(columns="target"), target)


def _refuse_unless_equal(ours: Any, theirs: Any) -> None:
    if (ours.coef_ != theirs.coef_).any() or (ours.intercept_ != theirs.intercept_).any():
        raise SystemExit("training_workflow and scikit-learn fitted different models: there is nothing to compare")


if __name__ == "__main__":
    measure.script(figures, runs=100, children={"in_turns": in_turns})
