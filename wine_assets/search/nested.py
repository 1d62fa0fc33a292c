"""Nested cross-validation: whole searches, each scored on rows that none of its trials has seen."""

from pathlib import Path
from typing import Any

from wine_assets.data import dataset
from wine_assets.evaluation import cross_validation
from wine_assets.models import training
from wine_assets.search.backends.base import TrialBackend
from wine_assets.search.objective import splits
from wine_assets.search.params import SearchParams
from wine_assets.search.search import Search


def outer_score(params: SearchParams, frame: Any, fold: int, *, searches: Path, backend: TrialBackend) -> float:
    """Return the score, on an outer fold's rows, of what a search of all other rows finds to be the best.

    The mean over all outer folds is what a search by these params can be expected to come to: the best score that it
    reports itself was searched for, and is too good (Cawley and Talbot, 2010). `frame` is binarized. Raise SearchError
    when a class has fewer rows than there are outer folds, and FailedSearchError as a search does.
    """
    _, y = dataset.features_and_target(frame)
    outer = params.objective.model_copy(update={"folds": params.nested_folds, "repeats": 1})
    rows, held_out = splits(y.to_numpy(), outer)[fold]
    inside = frame.iloc[rows]
    search = params.model_copy(update={"nested_folds": 0})
    best = Search.open(search, inside, searches).run(backend, lambda *_: None).best
    estimator = training.train(inside, best.candidate.hyperparameters()).estimator
    X, labels = dataset.features_and_target(frame.iloc[held_out])
    return cross_validation.score(params.objective.metric, labels.to_numpy(), estimator.predict_proba(X)[:, 1])
