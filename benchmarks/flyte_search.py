"""A search for C as a Flyte user writes it: the peer of `search.py`, run by its own environment."""

import json

import numpy as np
import pandas as pd
from flytekit import map_task, task, workflow
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

FOLDS = 5


def _data() -> tuple[pd.DataFrame, pd.Series]:
    X, y = load_wine(return_X_y=True, as_frame=True)
    return X, (y != 0).astype(int)


@task
def score(C: float) -> float:
    """Return the mean held-out log-loss of one value of C."""
    X, y = _data()
    losses = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y):
        model = LogisticRegression(max_iter=5000, C=C).fit(X.iloc[train], y.iloc[train])
        losses.append(log_loss(y.iloc[test], model.predict_proba(X.iloc[test]), labels=[0, 1]))
    return float(np.mean(losses))


@task
def refit(values: list[float], scores: list[float]) -> LogisticRegression:
    """Fit the best on all rows, and tell the scores."""
    print("SCORES", json.dumps(scores), flush=True)
    X, y = _data()
    return LogisticRegression(max_iter=5000, C=values[int(np.argmin(scores))]).fit(X, y)


@workflow
def search_workflow(values: list[float]) -> LogisticRegression:
    """Score each value, then fit the best."""
    return refit(values=values, scores=map_task(score)(C=values))
