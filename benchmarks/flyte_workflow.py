"""The reference workflow as a Flyte user writes it: the peer of `cold_run.py`, run by its own environment."""

import pandas as pd
from flytekit import Resources, task, workflow
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression


@task(requests=Resources(mem="500Mi"))
def get_data() -> pd.DataFrame:
    """Scikit-learn's wine data: 178 rows of 13 features and `target`."""
    return load_wine(as_frame=True).frame


@task
def process_data(data: pd.DataFrame) -> pd.DataFrame:
    """Keep class 0 and make every other class 1."""
    return data.assign(target=data["target"].where(data["target"] == 0, 1))


@task
def train_model(data: pd.DataFrame, hyperparameters: dict) -> LogisticRegression:
    """Fit the reference classifier on all features."""
    features = data.drop(columns="target")
    return LogisticRegression(max_iter=5000, **hyperparameters).fit(features, data["target"])


@workflow
def training_workflow(hyperparameters: dict = {"C": 0.01}) -> LogisticRegression:  # noqa: B006  flytekit reads it once
    """Get, process, train."""
    data = process_data(data=get_data())
    return train_model(data=data, hyperparameters=hyperparameters)
