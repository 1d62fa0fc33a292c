"""What an exported model predicts for rows of a frame."""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from wine_assets.config import StrictModel
from wine_assets.data import dataset
from wine_assets.errors import DataError

VERSION = "1"


class PredictionsParams(StrictModel):
    """Which rows the predictions are shown for."""

    config_path: ClassVar[str] = "predictions"

    rows: int = Field(default=10, ge=1, le=10_000, description="how many rows are sampled, 1 to 10,000")
    random_state: int = Field(default=41, ge=0, le=2**32 - 1, description="seed of the sample; the reference has 41")


def predict_sample(content: bytes, frame: Any, rows: int, random_state: int) -> Any:
    """Return a frame of the sampled rows: index, true class, label, P(class 1).

    The rows are those that `frame.sample(rows, random_state=random_state)` picks, or all when there are fewer.
    Raise DataError when the frame lacks a feature of the model.
    """
    import pandas as pd

    from wine_assets.inference import Predictor

    predictor = Predictor(content)
    _require_features(predictor.features, frame)
    sample = frame.sample(min(rows, len(frame)), random_state=random_state)
    features = sample[list(predictor.features)].to_numpy()
    return pd.DataFrame(
        {
            "row": sample.index.to_numpy(),
            "target": sample[dataset.TARGET].to_numpy(),
            "label": predictor.predict(features),
            "probability": predictor.predict_proba(features)[:, 1],
        }
    )


def _require_features(features: Sequence[str], frame: Any) -> None:
    absent = [name for name in features if name not in frame.columns]
    if absent:
        raise DataError(
            f"The model was trained on {', '.join(f'`{name}`' for name in absent)}, which the data lack. "
            "Materialize wine_model and wine_model_onnx from the same data, then this."
        )
