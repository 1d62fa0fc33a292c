"""The reference workflow as one plain call, without Dagster."""

from collections.abc import Mapping
from typing import Any

from wine_assets.errors import HyperparameterError
from wine_assets.ml.hyperparameters import LogisticRegressionHyperparameters


def training_workflow(hyperparameters: Mapping[str, Any] | LogisticRegressionHyperparameters | None = None) -> Any:
    """Get the bundled wine data, binarize it and return the LogisticRegression fitted on it.

    `training_workflow({"C": 0.01})` is the reference workflow: its result is bit-equal to
    `LogisticRegression(max_iter=5000, C=0.01)` fitted on all 178 rows and 13 features. A field that isn't given has
    its default, but for the scaler: there is none unless it is asked for, and with one the result is a Pipeline.
    A typed object means what a mapping of the fields that were set in it would mean. Raise HyperparameterError
    for what the typed model refuses.
    """
    from wine_assets.ml import dataset, sources, training

    typed = LogisticRegressionHyperparameters.model_validate({"scaler": "none"} | _given(hyperparameters))
    raw = sources.load(sources.BundledSource()).frame
    return training.train(dataset.binarize(raw, dataset.BinarizeParams()), typed).estimator


def _given(hyperparameters: Mapping[str, Any] | LogisticRegressionHyperparameters | None) -> dict[str, Any]:
    if isinstance(hyperparameters, LogisticRegressionHyperparameters):
        return hyperparameters.model_dump(exclude_unset=True, warnings=False)  # it is validated again
    if hyperparameters is None or isinstance(hyperparameters, Mapping):
        return {**hyperparameters} if hyperparameters else {}
    raise HyperparameterError(
        f"hyperparameters must be a mapping or LogisticRegressionHyperparameters, got {hyperparameters!r}. "
        'Write, for example, training_workflow({"C": 0.01}).'
    )
