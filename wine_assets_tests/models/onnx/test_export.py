import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from wine_assets.data import dataset
from wine_assets.errors import ExportError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference.predictor import Predictor
from wine_assets.models import parity, training, verified_export
from wine_assets.models.base import FittedModel
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.formats import skops_file
from wine_assets.models.onnx import export
from wine_assets.models.reference import REFERENCE
from wine_assets.models.registry import family_of
from wine_assets_tests.support.wine_frames import DEFAULT, exported, fitted, wine, wine_data

LINEAR = {"bare": REFERENCE, "scaled": DEFAULT}
TREES = GradientBoostingHyperparameters()


def graph_of(content: bytes) -> Any:
    return onnx.load_from_string(content).graph


def operators(content: bytes) -> list[str]:
    return sorted(node.op_type for node in graph_of(content).node)


def fitted_on_wine(estimator: Any) -> Any:
    return estimator.fit(*dataset.features_and_target(wine()))


def converted(estimator: Any) -> bytes:
    return export.convert(estimator, wine_data(), export.model_metadata(family_of(DEFAULT), DEFAULT, wine_data()))


# --- the linear family -------------------------------------------------------


def export_of(frame: pd.DataFrame, hyperparameters: LogisticRegressionHyperparameters) -> tuple[bytes, parity.Parity]:
    """Fit, export and compare."""
    exported_model = verified_export.export(frame, training.train(frame, hyperparameters))
    return exported_model.content, exported_model.parity


@pytest.mark.parametrize("hyperparameters", LINEAR.values(), ids=LINEAR)
def test_a_linear_model_is_one_gemm_one_sigmoid_and_one_argmax(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    assert operators(exported(hyperparameters)) == ["ArgMax", "Gemm", "Sigmoid"]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Draw rows whose features differ by many orders of magnitude in scale, and lie far from 0 or around it."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    features = draw(st.integers(1, 6))
    scales = 10.0 ** np.array(draw(st.lists(st.integers(-6, 6), min_size=features, max_size=features)))
    offsets = scales * np.array(draw(st.lists(st.integers(-100, 100), min_size=features, max_size=features)))
    values = generator.normal(size=(40, features))
    target = (values @ generator.normal(size=features) + generator.normal(size=40) > 0).astype("int64")
    target[:2] = [0, 1]
    names = [f"feature {place}" for place in range(features)]
    return pd.DataFrame(values * scales + offsets, columns=names).assign(target=target)


def powers_of_ten() -> st.SearchStrategy[float]:
    return st.floats(-6, 6).map(lambda exponent: 10.0**exponent)


@settings(deadline=None, max_examples=40)
@given(tables(), powers_of_ten(), st.sampled_from(["standard", "none"]), st.booleans())
def test_a_folded_model_answers_as_the_estimator_whatever_the_scales(
    frame: pd.DataFrame, C: float, scaler: Any, fit_intercept: Any
) -> None:
    hyperparameters = LogisticRegressionHyperparameters(C=C, scaler=scaler, fit_intercept=fit_intercept, max_iter=200)
    content, compared = export_of(frame, hyperparameters)
    assert compared.passed, compared.sentence()
    assert operators(content) in (
        ["ArgMax", "Gemm", "Sigmoid"],
        ["ArgMax", "Cast", "Cast", "Gemm", "Sigmoid"],  # in double precision
    )


def test_terms_too_large_for_float32_are_computed_in_float64() -> None:
    """The interface stays float32."""
    frame = wine().assign(proline=lambda frame: frame["proline"] + 1e6)
    content, compared = export_of(frame, DEFAULT)
    assert operators(content) == ["ArgMax", "Cast", "Cast", "Gemm", "Sigmoid"]
    assert compared.passed
    assert interface(content) == interface(exported(DEFAULT))


@pytest.mark.parametrize("scaler", ["standard", "none"])
def test_a_constant_feature_is_exported(scaler: Any) -> None:
    """Its deviation is 0, by which nothing can be divided."""
    _, compared = export_of(wine().assign(hue=1.25), LogisticRegressionHyperparameters(scaler=scaler))
    assert compared.passed


@pytest.mark.parametrize("scaler", ["standard", "none"])
def test_a_feature_of_huge_range_is_exported(scaler: Any) -> None:
    huge = wine().assign(proline=lambda frame: frame["proline"] * 1e30)
    _, compared = export_of(huge, LogisticRegressionHyperparameters(scaler=scaler, max_iter=100))
    assert compared.passed, compared.sentence()


def test_a_single_feature_is_exported() -> None:
    _, compared = export_of(wine()[["proline", "target"]], DEFAULT)
    assert compared.passed


def test_liblinear_without_an_intercept_is_exported() -> None:
    """Its intercept is a scalar, where that of other solvers is an array."""
    _, compared = export_of(wine(), LogisticRegressionHyperparameters(solver="liblinear", fit_intercept=False))
    assert compared.passed


def linear_model(weights: Any, bias: float) -> Predictor:
    metadata = export.model_metadata(family_of(DEFAULT), DEFAULT, wine_data())
    return Predictor(export.linear_classifier(weights, bias, wine_data(), metadata))


@pytest.mark.parametrize("bias", [-50.0, -15.0, -1.0, 0.0, 1.0, 15.0, 50.0])
def test_both_probabilities_are_right_to_a_ten_millionth_wherever_they_are(bias: float) -> None:
    model = linear_model(np.zeros(13), bias)
    p = 1 / (1 + np.exp(-bias))
    assert model.predict_proba(np.zeros((1, 13)))[0] == pytest.approx([1 - p, p], rel=0, abs=2e-7)


def test_a_row_on_the_boundary_itself_gets_the_label_that_scikit_learn_gives() -> None:
    tied = fitted_on_wine(LogisticRegression(max_iter=5000))
    tied.coef_[:], tied.intercept_[:] = 0, 0
    assert tied.predict(wine().iloc[:1, :-1]).tolist() == [0]
    assert linear_model(np.zeros(13), 0.0).predict(np.zeros((1, 13))).tolist() == [0]


# --- the interface -----------------------------------------------------------


class Unknown(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A classifier that skl2onnx has never heard of."""

    def fit(self, X: Any, y: Any) -> "Unknown":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), 2), 0.5)


def interface(content: bytes) -> list[tuple[str, int, int, int]]:
    """Return the name, type, number of dimensions and last fixed dimension of each input and output."""
    graph = graph_of(content)
    tensors = [(value.name, value.type.tensor_type) for value in (*graph.input, *graph.output)]
    return [(name, tensor.elem_type, len(tensor.shape.dim), tensor.shape.dim[-1].dim_value) for name, tensor in tensors]


INTERFACE = [
    ("features", TensorProto.FLOAT, 2, 13),
    ("label", TensorProto.INT64, 1, 0),
    ("probabilities", TensorProto.FLOAT, 2, 2),
]

CONVERTIBLE = {
    "forest": RandomForestClassifier(5, random_state=0),
    "boosted trees": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "tree": DecisionTreeClassifier(random_state=0),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "calibrated": CalibratedClassifierCV(make_pipeline(StandardScaler(), LogisticRegression()), cv=2),
    "calibrated support vectors": CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC()), ensemble=False, cv=2),
}


@pytest.mark.parametrize("hyperparameters", LINEAR.values(), ids=LINEAR)
def test_a_linear_model_has_the_interface_that_services_call(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    assert interface(exported(hyperparameters)) == INTERFACE
    assert_answers_in_batches_of_any_size(exported(hyperparameters))


def test_no_rows_have_no_answers() -> None:
    predictor = Predictor(exported(REFERENCE))
    assert predictor.predict_proba(np.empty((0, 13))).shape == (0, 2)
    assert predictor.predict(np.empty((0, 13))).shape == (0,)


DEPRECATED_PROBABILITIES = pytest.mark.filterwarnings(
    "ignore:The `probability` parameter was deprecated:FutureWarning",  # a test is about that parameter
    "ignore:Attribute `prob[AB]_` was deprecated:FutureWarning",  # skl2onnx looks at what goes with it
)


@DEPRECATED_PROBABILITIES
@pytest.mark.parametrize("estimator", CONVERTIBLE.values(), ids=CONVERTIBLE)
def test_any_classifier_has_the_same_interface(estimator: Any) -> None:
    content = converted(fitted_on_wine(estimator))
    assert interface(content) == INTERFACE
    assert_answers_in_batches_of_any_size(content)


def assert_answers_in_batches_of_any_size(content: bytes) -> None:
    predictor = Predictor(content)
    rows = wine().iloc[:, :-1].to_numpy()
    for size in (1, 178):
        probabilities, labels = predictor.predict_proba(rows[:size]), predictor.predict(rows[:size])
        assert (probabilities.shape, str(probabilities.dtype)) == ((size, 2), "float32")
        assert (labels.shape, str(labels.dtype)) == ((size,), "int64")


@DEPRECATED_PROBABILITIES
def test_support_vectors_with_probabilities_of_their_own_have_the_same_interface() -> None:
    assert interface(converted(fitted_on_wine(SVC(probability=True, random_state=0)))) == INTERFACE


@pytest.mark.filterwarnings(
    "ignore:Field onnx.AttributeProto:DeprecationWarning"  # skl2onnx writes a boolean where onnx wants an integer
)
def test_histogram_boosted_trees_have_the_same_interface() -> None:
    assert interface(converted(fitted_on_wine(HistGradientBoostingClassifier(max_iter=5)))) == INTERFACE


@pytest.mark.parametrize("name", ["forest", "boosted trees", "tree", "logistic regression"])
def test_a_converted_model_answers_as_the_estimator(name: str) -> None:
    estimator = fitted_on_wine(CONVERTIBLE[name])
    model = FittedModel(family_of(TREES), TREES, wine_data(), estimator)
    compared = parity.measure(converted(estimator), model, wine().iloc[:, :-1])
    assert compared.passed, compared.sentence()


@pytest.mark.parametrize(
    "estimator",
    [Unknown(), LinearRegression(), SGDClassifier()],
    ids=["unknown", "regression", "without probabilities"],
)
def test_what_cannot_be_converted_is_refused(estimator: Any) -> None:
    with pytest.raises(ExportError, match=type(estimator).__name__):
        converted(fitted_on_wine(estimator))


def test_what_skl2onnx_does_not_know_is_refused_with_the_reason() -> None:
    with pytest.raises(ExportError, match=r"(?s)^skl2onnx can't convert Unknown: .*Use a family whose estimator"):
        converted(fitted_on_wine(Unknown()))


def test_an_option_of_a_converter_is_passed_on() -> None:
    """Without the conversion to probabilities, a logistic regression answers with its decision function."""
    metadata = export.model_metadata(family_of(DEFAULT), DEFAULT, wine_data())
    raw = export.convert(fitted(REFERENCE), wine_data(), metadata, {"raw_scores": True})
    assert Predictor(raw).predict_proba(wine().iloc[:, :-1]).max() > 1


# --- the file ----------------------------------------------------------------


@pytest.fixture(scope="module", params=["linear", "forest"])
def content(request: pytest.FixtureRequest) -> bytes:
    return exported(DEFAULT) if request.param == "linear" else converted(fitted_on_wine(CONVERTIBLE["forest"]))


def test_the_checker_of_onnx_finds_no_fault(content: bytes) -> None:
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


def test_the_metadata_are_the_deterministic_identity_and_nothing_else() -> None:
    metadata = Predictor(exported(REFERENCE)).metadata
    assert {name: json.loads(value) for name, value in metadata.items() if name in ("features", "classes")} == {
        "features": [*wine().columns[:-1]],
        "classes": [0, 1],
    }
    assert metadata["family"] == "logistic_regression"
    assert json.loads(metadata["hyperparameters"]) == REFERENCE.model_dump()
    assert metadata["data_fingerprint"] == wine_data().fingerprint
    assert metadata["batch_invariant"] == "true"
    assert len(metadata) == 6


def test_nothing_in_the_file_tells_when_or_where_it_was_made(content: bytes) -> None:
    model = onnx.load_from_string(content)
    assert (model.doc_string, model.graph.doc_string, model.domain, model.model_version) == ("", "", "", 0)
    assert (model.producer_name, model.producer_version) == ("wine_assets", "")
    for trace in (str(Path.cwd()), sys.prefix, str(Path.home()) + "/", os.uname().nodename, f"{os.getpid()}-"):
        assert trace.encode() not in content


def test_a_model_holds_its_weights_itself(content: bytes) -> None:
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in graph_of(content).initializer)


def test_feature_names_of_any_script_survive() -> None:
    frame = wine().rename(columns={"hue": 'Farbton "β" 色 <i>'})
    content, _ = export_of(frame, DEFAULT)
    assert Predictor(content).features == tuple(frame.columns[:-1])


def test_equal_inputs_give_equal_bytes() -> None:
    one, _ = export_of(wine(), DEFAULT)
    other, _ = export_of(wine(), DEFAULT)
    assert one == other == exported(DEFAULT)


def test_other_data_give_other_bytes() -> None:
    """Even where the model came out the same."""
    data = training.training_data(wine().iloc[::-1])
    content = family_of(DEFAULT).export(fitted(DEFAULT), DEFAULT, data)
    assert content != exported(DEFAULT)


_EXPORT_IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
from sklearn.ensemble import RandomForestClassifier
from wine_assets.files import sha256_of_bytes
from wine_assets.data import dataset
from wine_assets.models.formats import skops_file as estimators
from wine_assets.models.onnx import export
from wine_assets.models.registry import family_of
from wine_assets_tests.support.wine_frames import DEFAULT, wine, wine_data
linear = estimators.load(Path(sys.argv[1]))
print(sha256_of_bytes(family_of(DEFAULT).export(linear, DEFAULT, wine_data())))
forest = RandomForestClassifier(5, random_state=0).fit(*dataset.features_and_target(wine()))
metadata = export.model_metadata(family_of(DEFAULT), DEFAULT, wine_data())
print(sha256_of_bytes(export.convert(forest, wine_data(), metadata)))
"""


@pytest.mark.process
def test_a_fresh_process_with_another_order_of_hashes_writes_equal_bytes(tmp_path: Path) -> None:
    skops_file.save(fitted(DEFAULT), tmp_path / "linear.skops")
    fresh = subprocess.run(
        [sys.executable, "-c", _EXPORT_IN_A_FRESH_PROCESS, tmp_path / "linear.skops"],
        env=os.environ | {"PYTHONHASHSEED": "41"},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    forest = fitted_on_wine(CONVERTIBLE["forest"])
    assert fresh.stdout.split() == [sha256_of_bytes(content) for content in (exported(DEFAULT), converted(forest))]


def test_converting_does_not_touch_the_estimator() -> None:
    forest = fitted_on_wine(CONVERTIBLE["forest"])
    before = forest.predict_proba(wine().iloc[:, :-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted(forest)
    assert (forest.predict_proba(wine().iloc[:, :-1]) == before).all()
