"""The reference model as this project has it: fitted, exported, and released in a repository that can be served."""

from pathlib import Path
from typing import Any, NamedTuple

import measure


class Reference(NamedTuple):
    """The estimator, the ONNX model that it was exported to, and the binarized frame that it was fitted on."""

    estimator: Any
    model: bytes
    frame: Any

    @property
    def rows(self) -> Any:
        """The features that it was fitted on: a float64 frame [178, 13]."""
        from wine_assets.data import dataset

        return dataset.features_and_target(self.frame)[0]


def reference() -> Reference:
    """Fit `LogisticRegression(max_iter=5000, C=0.01)` on the bundled wine data, and export it."""
    from wine_assets.models.reference import REFERENCE

    return fitted(REFERENCE)


def fitted(hyperparameters: Any) -> Reference:
    """Fit a logistic regression on the bundled wine data, and export it."""
    from wine_assets.data import dataset, sources
    from wine_assets.models import training
    from wine_assets.models.families.logistic_regression import LogisticRegressionFamily

    frame = dataset.binarize(sources.load(sources.BundledSource()).frame, dataset.BinarizeParams())
    estimator = training.train(frame, hyperparameters).estimator
    content = LogisticRegressionFamily().export(estimator, hyperparameters, training.training_data(frame))
    return Reference(estimator, content, frame)


def unnamed(estimator: Any) -> Any:
    """Let the estimator take arrays without a warning, as it does when it is given frames without names."""
    for part in (estimator, *(step for _, step in getattr(estimator, "steps", []))):
        vars(part).pop("feature_names_in_", None)
    return estimator


def released(folder: Path) -> Path:
    """Have a child release the reference model below `folder`, so that this process stays small; return where."""
    return Path(measure.ask_child(__file__, "release", str(folder)))


def release(folder: str) -> str:
    """Release the reference model as the pipeline does."""
    from wine_assets.release import publishing

    estimator, model, frame = reference()
    candidate = publishing.Candidate(model, estimator, frame, {})
    return str(publishing.release(Path(folder), candidate, publishing.provenance("benchmarks"), None).folder)


if __name__ == "__main__":
    measure.script(lambda _: [], runs=1, children={"release": release})
