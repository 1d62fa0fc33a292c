import copy
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier

from wine_assets.data import dataset
from wine_assets.errors import ParityError
from wine_assets.inference.predictor import Predictor
from wine_assets.models import parity
from wine_assets.models.base import FittedModel
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters, folded
from wine_assets.models.onnx import export
from wine_assets.models.reference import REFERENCE
from wine_assets.models.registry import family_of
from wine_assets_tests.support.wine_frames import DEFAULT, exported, fitted, wine, wine_data

MODELS = {"bare": REFERENCE, "scaled": DEFAULT}
GOOD = parity.Parity(178, 10_000, 500, 1e-6, 0, 0, batch_invariant=True)


def compared(content: bytes, estimator: Any, *, batch_invariant: bool = True) -> parity.Parity:
    X, _ = dataset.features_and_target(wine())
    return parity.measure(content, model_of(estimator, batch_invariant=batch_invariant), X)


def model_of(estimator: Any, *, batch_invariant: bool) -> FittedModel:
    """Return a model of this estimator, of a family that promises equal bits in any batch, or does not."""
    promise: Any = SimpleNamespace(batch_invariant=batch_invariant)
    return FittedModel(promise, REFERENCE, wine_data(), estimator)


def linear(weights: Any, bias: float) -> bytes:
    metadata = export.model_metadata(family_of(REFERENCE), REFERENCE, wine_data())
    return export.linear_classifier(weights, bias, wine_data(), metadata)


def edited(change: Any) -> bytes:
    """Return the reference model after `change` had its graph."""
    model = onnx.load_from_string(exported(REFERENCE))
    change(model.graph)
    content: bytes = model.SerializeToString()
    return content


def node(graph: Any, operator: str) -> Any:
    return next(node for node in graph.node if node.op_type == operator)


def assert_refused(found: parity.Parity) -> None:
    assert not found.passed
    with pytest.raises(
        ParityError, match=r"^The ONNX model doesn't answer as the estimator: .* The last good model stays"
    ):
        parity.require(found)


@pytest.mark.parametrize("hyperparameters", MODELS.values(), ids=MODELS)
def test_an_export_that_equals_its_estimator_passes(hyperparameters: LogisticRegressionHyperparameters) -> None:
    found = compared(exported(hyperparameters), fitted(hyperparameters))
    assert (found.rows, found.random_rows, found.boundary_rows) == (178, 10_000, 500)
    assert (found.label_flips, found.batch_differences) == (0, 0)
    assert 0 < found.max_difference <= parity.TOLERANCE
    parity.require(found)
    assert found.sentence().startswith("The ONNX model equals the estimator: on 178 rows of data, 10000 random rows")


@pytest.mark.parametrize("feature", range(13))
def test_a_weight_that_is_a_hundredth_off_is_caught(feature: int) -> None:
    weights, bias = folded(fitted(DEFAULT))
    weights = weights.copy()
    weights[feature] *= 1.01
    assert_refused(compared(linear(weights, bias), fitted(DEFAULT)))


@pytest.mark.parametrize("change", [1e-4, -1e-4, 1.0])
def test_a_bias_that_is_a_little_off_is_caught(change: float) -> None:
    """Near the boundary, P(class 1) moves by a quarter of it."""
    weights, bias = folded(fitted(REFERENCE))
    found = compared(linear(weights, bias + change), fitted(REFERENCE))
    assert_refused(found)
    assert found.max_difference > abs(change) / 5


def test_swapped_classes_are_caught() -> None:
    weights, bias = folded(fitted(REFERENCE))
    found = compared(linear(-weights, -bias), fitted(REFERENCE))
    assert_refused(found)
    assert found.label_flips > 10_000


def test_labels_that_contradict_the_probabilities_are_caught() -> None:
    def swap_labels(graph: Any) -> None:
        node(graph, "ArgMax").op_type = "ArgMin"

    found = compared(edited(swap_labels), fitted(REFERENCE))
    assert_refused(found)
    assert found.max_difference <= parity.TOLERANCE


def test_a_wrong_probability_of_class_0_alone_is_caught() -> None:
    """The labels come from the logits, so they stay right."""

    def halve_the_first_column(graph: Any) -> None:
        node(graph, "Sigmoid").output[0] = "whole"
        graph.initializer.append(numpy_helper.from_array(np.array([0.5, 1], dtype=np.float32), "factors"))
        graph.node.append(helper.make_node("Mul", ["whole", "factors"], ["probabilities"]))

    found = compared(edited(halve_the_first_column), fitted(REFERENCE))
    assert_refused(found)
    assert found.label_flips == 0


def test_features_in_another_order_are_caught() -> None:
    weights, bias = folded(fitted(DEFAULT))
    assert_refused(compared(linear(weights[::-1], bias), fitted(DEFAULT)))


def test_answers_that_are_no_numbers_are_caught() -> None:
    found = compared(linear(np.full(13, math.nan), 0.0), fitted(REFERENCE))
    assert math.isnan(found.max_difference)
    assert_refused(found)


def test_a_model_of_other_data_is_caught() -> None:
    assert_refused(compared(exported(DEFAULT), fitted(REFERENCE)))


def test_a_difference_in_a_single_row_of_the_data_is_enough() -> None:
    """A value that the random rows never reach."""
    forest = forest_of_wine()
    X, _ = dataset.features_and_target(wine())
    content = converted(forest)
    X.iloc[77] = 1e9
    changed = copy.deepcopy(forest)
    changed.predict_proba = lambda rows: _wrong_far_away(forest, rows)
    found = parity.measure(content, model_of(changed, batch_invariant=False), X)
    assert_refused(found)
    assert found.max_difference >= 0.5


def _wrong_far_away(forest: Any, rows: Any) -> Any:
    answers = forest.predict_proba(rows)
    return np.where(rows.to_numpy()[:, :1] > 1e6, np.where(answers > 0.5, 0.0, 1.0), answers)


# --- the rows that are compared ----------------------------------------------


@pytest.mark.parametrize("hyperparameters", MODELS.values(), ids=MODELS)
def test_boundary_rows_lie_at_the_boundary(hyperparameters: LogisticRegressionHyperparameters) -> None:
    estimator = fitted(hyperparameters)
    rows = parity._boundary_rows(estimator, parity._random_rows(wine_data()))
    assert rows.shape == (parity.BOUNDARY_ROWS, 13)
    assert parity._probability(estimator, rows) == pytest.approx(np.full(len(rows), 0.5), rel=0, abs=1e-4)


def test_boundary_rows_of_a_forest_lie_where_its_label_changes() -> None:
    """Its probability jumps, so no row is at 0.5: the label changes within the last bits of a float32."""
    forest = forest_of_wine()
    rows = parity._boundary_rows(forest, parity._random_rows(wine_data()))
    below, above = (parity._probability(forest, rows * factor) for factor in (1 - 1e-5, 1 + 1e-5))
    changes = (below > 0.5) != (above > 0.5)
    assert changes.mean() > 0.9


def test_random_rows_fill_the_ranges_of_the_features_and_are_the_same_each_time() -> None:
    data = wine_data()
    rows = parity._random_rows(data)
    margin = 0.01 * (np.array(data.high) - np.array(data.low))
    assert (np.abs(rows.min(axis=0) - data.low) < margin).all()
    assert (np.abs(rows.max(axis=0) - data.high) < margin).all()
    assert (rows == parity._random_rows(data)).all()


def test_a_model_that_gives_one_label_everywhere_has_no_boundary_and_can_pass() -> None:
    certain = copy.deepcopy(fitted(REFERENCE))
    certain.intercept_ += 100
    found = compared(linear(*folded(certain)), certain)
    assert found.boundary_rows == 0
    assert found.passed


def test_data_that_is_compared_in_blocks_gives_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compared(exported(DEFAULT), fitted(DEFAULT))
    monkeypatch.setattr(parity, "_BLOCK_ROWS", 50)
    assert compared(exported(DEFAULT), fitted(DEFAULT)) == whole


def test_an_estimator_that_was_fitted_on_arrays_is_compared_without_names() -> None:
    X, y = dataset.features_and_target(wine())
    nameless = copy.deepcopy(fitted(REFERENCE)).fit(X.to_numpy(), y.to_numpy())
    assert compared(linear(*folded(nameless)), nameless).passed


# --- alone and in a batch ----------------------------------------------------


def forest_of_wine() -> Any:
    return RandomForestClassifier(20, random_state=0).fit(*dataset.features_and_target(wine()))


def converted(estimator: Any) -> bytes:
    return export.convert(estimator, wine_data(), export.model_metadata(family_of(DEFAULT), DEFAULT, wine_data()))


@pytest.mark.parametrize("hyperparameters", MODELS.values(), ids=MODELS)
def test_a_linear_model_answers_a_row_with_the_same_bits_alone_and_in_any_batch(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    predictor = Predictor(exported(hyperparameters))
    rows = parity._random_rows(wine_data())[:300]
    together = predictor.predict_proba(rows)
    for size in (1, 2, 3, 5, 8, 16, 17, 31, 64, 100, 299):
        parts = [predictor.predict_proba(rows[start : start + size]) for start in range(0, 300, size)]
        assert np.concatenate(parts).tobytes() == together.tobytes()


def test_last_bits_that_depend_on_the_batch_fail_a_family_that_promises_otherwise_alone() -> None:
    """skl2onnx's own graph of a linear model has them."""
    content = converted(fitted(DEFAULT))
    promised, not_promised = (
        compared(content, fitted(DEFAULT), batch_invariant=invariant) for invariant in (True, False)
    )
    assert promised.batch_differences == not_promised.batch_differences > 0
    assert_refused(promised)
    assert not_promised.passed


def test_a_forest_passes_when_its_family_promises_nothing_of_batches() -> None:
    assert compared(converted(forest_of_wine()), forest_of_wine(), batch_invariant=False).passed


# --- what is accepted --------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"max_difference": parity.TOLERANCE}, True),
        ({"max_difference": math.nextafter(parity.TOLERANCE, 1)}, False),
        ({"max_difference": math.nan}, False),
        ({"label_flips": 1}, False),
        ({"batch_differences": 1}, False),
        ({"batch_differences": 1, "batch_invariant": False}, True),
        ({"max_difference": 1.0, "batch_invariant": False}, False),
    ],
)
def test_every_figure_has_a_say(change: dict[str, Any], accepted: bool) -> None:  # noqa: FBT001 - a parameter
    assert replace(GOOD, **change).passed is accepted


def test_the_sentence_names_every_figure_and_the_remedy() -> None:
    found = parity.Parity(7, 10, 3, 0.25, label_flips=2, batch_differences=4, batch_invariant=True)
    assert found.sentence() == (
        "The ONNX model doesn't answer as the estimator: on 7 rows of data, 10 random rows and 3 rows at the decision "
        "boundary, probabilities differ by at most 0.25 (allowed: 1e-05), 2 labels differ, and 4 rows answer otherwise "
        "alone than in a batch. The last good model stays. Change the hyperparameters (scale the features, "
        "regularize more, or make the model smaller), and materialize again."
    )
