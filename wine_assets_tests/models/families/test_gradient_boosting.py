import copy
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from wine_assets.data import dataset
from wine_assets.errors import ArtifactError, ExportError, HyperparameterError
from wine_assets.inference import Predictor
from wine_assets.models import parity, training, verified_export
from wine_assets.models.families import legacy_skops
from wine_assets.models.families.gradient_boosting import GradientBoostingFamily, GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionFamily
from wine_assets.models.onnx import export
from wine_assets.models.registry import family_of
from wine_assets_tests.support.wine_frames import exported, fitted, fitted_model, wine, wine_data

FAMILY = GradientBoostingFamily()
BOOSTED = GradientBoostingHyperparameters()
FEW = GradientBoostingHyperparameters(max_iter=5, min_samples_leaf=5)
FLOAT32 = np.finfo(np.float32)


def fit_on_wine(estimator: Any, target: Any = None) -> Any:
    X, y = dataset.features_and_target(wine())
    return estimator.fit(X, y if target is None else target)


def nodes(estimator: Any) -> list[Any]:
    return [predictor.nodes for (predictor,) in estimator._predictors]


def bits(estimator: Any) -> bytes:
    return b"".join(tree.tobytes() for tree in nodes(estimator))


@st.composite
def cheap_hyperparameters(draw: st.DrawFn) -> GradientBoostingHyperparameters:
    return GradientBoostingHyperparameters(
        learning_rate=draw(st.floats(1e-3, 1)),
        max_iter=draw(st.integers(1, 6)),
        max_leaf_nodes=draw(st.integers(2, 40)),
        max_depth=draw(st.integers(0, 5)),
        min_samples_leaf=draw(st.integers(1, 100)),
        l2_regularization=draw(st.floats(0, 10)),
        max_features=draw(st.floats(0.1, 1)),
        class_weight=draw(st.sampled_from(["none", "balanced"])),
        random_state=draw(st.integers(0, 2**32 - 1)),
    )


# --- the fit -----------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(asked=cheap_hyperparameters(), looks=st.sets(st.integers(1, 5)))
def test_a_fit_in_stages_is_that_in_one_go_to_the_last_bit(
    asked: GradientBoostingHyperparameters, looks: set[int]
) -> None:
    """With whatever seed, share of features and weights, and wherever it is looked at."""
    X, y = dataset.features_and_target(wine())
    estimator: Any = None
    for iterations in [*sorted(look for look in looks if look < asked.max_iter), asked.max_iter]:
        estimator = FAMILY.advance(estimator, X, y, asked, iterations)
        assert estimator.n_iter_ == iterations
    assert FAMILY.iterations(asked) == asked.max_iter
    assert bits(estimator) == bits(FAMILY.fit(X, y, asked))


def test_the_default_is_scikit_learns_without_early_stopping() -> None:
    """scikit-learn's own default stops early from 10,000 rows on; no wine data has as many."""
    plain = fit_on_wine(HistGradientBoostingClassifier(random_state=0))
    assert bits(fitted(BOOSTED)) == bits(plain)
    X, _ = dataset.features_and_target(wine())
    assert fitted(BOOSTED).predict_proba(X).tobytes() == plain.predict_proba(X).tobytes()


def test_every_hyperparameter_reaches_scikit_learn() -> None:
    given: dict[str, Any] = {
        "learning_rate": 0.3,
        "max_iter": 7,
        "max_leaf_nodes": 6,
        "max_depth": 3,
        "min_samples_leaf": 4,
        "l2_regularization": 0.5,
        "max_features": 0.5,
        "class_weight": "balanced",
        "random_state": 3,
    }
    assert {*given} == GradientBoostingHyperparameters.model_fields.keys() - {"family"}
    assert bits(fitted(GradientBoostingHyperparameters(**given))) == bits(
        fit_on_wine(HistGradientBoostingClassifier(**given))
    )


@pytest.mark.parametrize(("depth", "leaves"), [(0, 31), (1, 2), (4, 16), (5, 31), (1000, 31)])
def test_trees_are_as_complex_as_depth_and_leaves_let_them_be(depth: int, leaves: int) -> None:
    given = GradientBoostingHyperparameters(max_iter=10, max_leaf_nodes=31, max_depth=depth)
    assert GradientBoostingFamily().complexity(given) == 10 * leaves


def test_all_rows_are_fitted_on_however_many_there_are() -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(10_002, 2)), columns=["a", "b"])
    frame["target"] = (frame["a"] + generator.normal(size=len(frame)) > 0).astype("int64")
    estimator = training.train(frame, FEW).estimator
    assert not estimator.do_early_stopping_
    assert {int(tree[0]["count"]) for tree in nodes(estimator)} == {len(frame)}


@settings(deadline=None, max_examples=20)
@given(cheap_hyperparameters())
def test_old_files_tell_their_hyperparameters(hyperparameters: GradientBoostingHyperparameters) -> None:
    """A file without a description has all hyperparameters among the parameters of its estimator."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.skops"
        FAMILY.save(training.train(wine(), hyperparameters).estimator, path)
        assert legacy_skops.load(path).hyperparameters == hyperparameters


@settings(deadline=None, max_examples=20)
@given(cheap_hyperparameters())
def test_equal_hyperparameters_fit_equal_trees_whatever_the_threads(
    hyperparameters: GradientBoostingHyperparameters,
) -> None:
    with threadpool_limits(1, user_api="openmp"):
        one = bits(training.train(wine(), hyperparameters).estimator)
    with threadpool_limits(3, user_api="openmp"):
        assert bits(training.train(wine(), hyperparameters).estimator) == one


def test_the_seed_matters_where_features_are_drawn() -> None:
    drawn = [FEW.model_copy(update={"max_features": 0.3, "random_state": seed}) for seed in (1, 2)]
    assert bits(fitted(drawn[0])) != bits(fitted(drawn[1]))


# --- what is this family's ---------------------------------------------------

FOREIGN = {
    "another kind of boosting": GradientBoostingClassifier(n_estimators=2),
    "a forest": RandomForestClassifier(2),
    "stopped early": HistGradientBoostingClassifier(max_iter=3, early_stopping=True, categorical_features=None),
    "with categories": HistGradientBoostingClassifier(max_iter=3, early_stopping=False, categorical_features=[0]),
    "coarser": HistGradientBoostingClassifier(max_iter=3, early_stopping=False, categorical_features=None, max_bins=16),
    "monotonic": HistGradientBoostingClassifier(
        max_iter=3, early_stopping=False, categorical_features=None, monotonic_cst=[1] + [0] * 12
    ),
}


@pytest.mark.parametrize("estimator", FOREIGN.values(), ids=FOREIGN)
def test_what_has_other_parameters_is_not_this_familys(estimator: Any) -> None:
    frame = wine().assign(alcohol=lambda wines: wines["alcohol"].round())
    X, y = dataset.features_and_target(frame)
    foreign = estimator.fit(X, y)
    with pytest.raises(ExportError, match=r"^Expected a HistGradientBoostingClassifier fitted by this family"):
        FAMILY.export(foreign, BOOSTED, wine_data())


def test_its_estimators_are_told_from_those_of_the_other_family(path: Path) -> None:
    for fitted_one in (fitted(FEW), fitted()):
        FAMILY.save(fitted_one, path)
        name = legacy_skops.load(path).family.name
        assert name == ("gradient_boosting" if fitted_one is fitted(FEW) else "logistic_regression")


@pytest.mark.parametrize("estimator", [None, 3, HistGradientBoostingClassifier], ids=["None", "a number", "a type"])
def test_what_is_no_estimator_is_not_this_familys(estimator: Any) -> None:
    with pytest.raises(ExportError, match=r"^Expected a HistGradientBoostingClassifier fitted by this family"):
        FAMILY.export(estimator, BOOSTED, wine_data())


def unfitted() -> Any:
    return HistGradientBoostingClassifier(early_stopping=False, categorical_features=None, random_state=0, max_iter=2)


@pytest.mark.parametrize("classes", [[1, 2], [0, 1, 2], ["red", "white"]], ids=str)
def test_only_a_model_of_the_classes_0_and_1_is_exported(classes: list[Any]) -> None:
    foreign = fit_on_wine(unfitted(), np.resize(classes, len(wine())))
    with pytest.raises(ExportError, match="on the classes 0 and 1"):
        FAMILY.export(foreign, BOOSTED, wine_data())


def test_a_model_that_is_not_fitted_is_not_exported() -> None:
    with pytest.raises(ExportError, match="on the classes 0 and 1"):
        FAMILY.export(unfitted(), BOOSTED, wine_data())


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"class_weight": {0: 1, 1: 2}}, r"^class_weight must be 'none' or 'balanced'"),
        ({"max_leaf_nodes": None}, r"^max_leaf_nodes must be a whole number, got None"),
        ({"random_state": None}, r"^random_state must be a whole number, got None"),
    ],
)
def test_parameters_that_no_run_config_can_hold_are_named(
    parameters: dict[str, Any], sentence: str, path: Path
) -> None:
    """A file without a description whose estimator somebody else has fitted says why it can't be used."""
    FAMILY.save(fit_on_wine(unfitted()).set_params(**parameters), path)
    with pytest.raises(HyperparameterError, match=sentence):
        legacy_skops.load(path)


# --- on disk -----------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.skops"


@pytest.mark.parametrize(
    "load", [FAMILY.load, lambda path: legacy_skops.load(path).estimator], ids=["by the family", "by any"]
)
def test_an_estimator_comes_back_with_the_same_bits(load: Callable[[Path], Any], path: Path) -> None:
    before = fitted(BOOSTED)
    FAMILY.save(before, path)
    after = load(path)
    X, _ = dataset.features_and_target(wine())
    assert bits(after) == bits(before)
    assert after.predict_proba(X).tobytes() == before.predict_proba(X).tobytes()
    assert FAMILY.export(after, BOOSTED, wine_data()) == exported(BOOSTED)


def test_the_trees_are_the_only_type_that_has_to_be_trusted(path: Path) -> None:
    FAMILY.save(fitted(FEW), path)
    assert skops.io.get_untrusted_types(file=path) == [
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
    ]


def test_no_pickle_is_written(path: Path) -> None:
    FAMILY.save(fitted(FEW), path)
    with zipfile.ZipFile(path) as archive:
        assert {Path(name).suffix for name in archive.namelist()} == {".json", ".npy"}
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as array:
                    np.load(array, allow_pickle=False)


def refused(path: Path) -> str:
    sentences = set()
    for load in (FAMILY.load, legacy_skops.load):
        with pytest.raises(ArtifactError) as refusal:
            load(path)
        sentences.add(str(refusal.value))
    (sentence,) = sentences
    return sentence


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_no_estimator(kept: float, path: Path) -> None:
    FAMILY.save(fitted(FEW), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert refused(path).startswith(f"{path} can't be read as an estimator: ")


def test_a_flipped_bit_in_a_tree_is_noticed(path: Path) -> None:
    FAMILY.save(fitted(FEW), path)
    content = bytearray(path.read_bytes())
    content[content.index(nodes(fitted(FEW))[0].tobytes())] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refused(path)


class Foreign(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A type that a file may hold and this project didn't write."""


def test_another_type_beside_the_trees_is_named_and_not_loaded(path: Path) -> None:
    estimator = fit_on_wine(unfitted())
    estimator.hidden_ = [{"deep": (Foreign(),)}]
    skops.io.dump(estimator, path)
    with pytest.raises(
        ArtifactError, match=rf"holds types that this project doesn't write: {__name__}\.Foreign\. Don't"
    ):
        FAMILY.load(path)
    with pytest.raises(ArtifactError, match="Foreign"):
        legacy_skops.load(path)


def test_the_other_familys_files_hold_no_type_of_this_one(path: Path) -> None:
    """What one family trusts, another doesn't have to."""
    estimator = copy.deepcopy(fitted())
    estimator.hidden_ = fitted(FEW)._predictors
    skops.io.dump(estimator, path)
    with pytest.raises(ArtifactError, match="TreePredictor"):
        LogisticRegressionFamily().load(path)
    assert "holds no trees that this project wrote" in refused(path)


SPOILED: dict[str, tuple[str, Any]] = {
    "a node that isn't there": ("left", 10_000),
    "a node of the other side": ("right", 2**32 - 1),
    "the root again, for ever": ("left", 0),
    "a feature that isn't there": ("feature_idx", 13),
    "a feature before the first": ("feature_idx", -1),
    "a category": ("is_categorical", 1),
}


@pytest.mark.parametrize(("field", "value"), SPOILED.values(), ids=SPOILED)
def test_a_tree_that_leads_astray_is_not_followed(field: str, value: Any, path: Path) -> None:
    """scikit-learn itself would read other memory than the tree's, or never return."""
    estimator = fit_on_wine(unfitted())
    nodes(estimator)[-1][field][0] = value
    FAMILY.save(estimator, path)
    assert (
        refused(path) == f"{path} holds no trees that this project wrote. Don't use it; materialize wine_model again."
    )


def test_trees_without_what_a_tree_has_are_not_followed(path: Path) -> None:
    estimator = fit_on_wine(unfitted())
    del estimator._predictors
    skops.io.dump(estimator, path)
    with pytest.raises(ArtifactError, match="holds no trees that this project wrote"):
        FAMILY.load(path)


# --- the exported model ------------------------------------------------------


def assert_answers_as_its_estimator(content: bytes, estimator: Any, rows: Any) -> None:
    """Each row falls into the leaf of every tree that it falls into in the estimator: no answer is off by a leaf."""
    names = estimator.feature_names_in_
    frame = pd.DataFrame(np.asarray(rows, dtype=np.float64), columns=names)
    labels, probabilities = Predictor(content).predict_both(rows)
    np.testing.assert_allclose(probabilities, estimator.predict_proba(frame), rtol=0, atol=3e-7)
    sure = np.abs(estimator.predict_proba(frame)[:, 1] - 0.5) > 1e-6
    assert (labels == estimator.predict(frame))[sure].all()


def random_rows(count: int = 5_000) -> Any:
    data = wine_data()
    return np.random.default_rng(1).uniform(data.low, data.high, size=(count, 13)).astype(np.float32)


@pytest.mark.parametrize("hyperparameters", [BOOSTED, FEW], ids=["default", "few"])
def test_random_rows_are_answered_as_by_the_estimator(hyperparameters: GradientBoostingHyperparameters) -> None:
    assert_answers_as_its_estimator(exported(hyperparameters), fitted(hyperparameters), random_rows())


def at_thresholds(estimator: Any) -> Any:
    """Return a row for each split, and the float32 neighbours of its threshold: on it, just below, just above."""
    rows, base = [], random_rows(1)[0]
    for tree in nodes(estimator):
        for node in tree[tree["is_leaf"] == 0]:
            nearest = np.float32(node["num_threshold"])
            for value in (nearest, np.nextafter(nearest, -FLOAT32.max), np.nextafter(nearest, FLOAT32.max)):
                row = base.copy()
                row[node["feature_idx"]] = value
                rows.append(row)
    return np.stack(rows)


def test_rows_at_the_thresholds_fall_on_the_side_that_they_fall_on_in_the_estimator() -> None:
    rows = at_thresholds(fitted(BOOSTED))
    assert len(rows) > 300
    assert_answers_as_its_estimator(exported(BOOSTED), fitted(BOOSTED), rows)


@pytest.mark.parametrize("low", [0.0, -FLOAT32.smallest_subnormal, 1.0, -1.0, 1e-30, 3e37, -3e37], ids=str)
def test_a_threshold_between_two_neighbours_of_float32_keeps_them_apart(low: float) -> None:
    """float32 has no number for it."""
    below = np.float32(low)
    column = np.array([below, np.nextafter(below, FLOAT32.max)], dtype=np.float64)
    frame = pd.DataFrame({"a": np.repeat(column, 20), "target": np.repeat([0, 1], 20)})
    made = verified_export.export(frame, training.train(frame, FEW.model_copy(update={"min_samples_leaf": 1})))
    labels = Predictor(made.content).predict(column.astype(np.float32)[:, None])
    assert labels.tolist() == [0, 1]
    assert made.parity.passed, made.parity.sentence()


@pytest.mark.parametrize("value", [FLOAT32.max, FLOAT32.min, FLOAT32.smallest_subnormal, 0.0, -0.0], ids=str)
def test_the_extremes_of_float32_are_answered(value: float) -> None:
    rows = np.repeat(random_rows(1), 26, axis=0)
    for place in range(13):
        rows[2 * place, place], rows[2 * place + 1, place] = value, -value
    assert_answers_as_its_estimator(exported(BOOSTED), fitted(BOOSTED), rows)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Draw rows whose features differ by many orders of magnitude, some of them with few values or a single one."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    features = draw(st.integers(1, 4))
    scales = 10.0 ** np.array(draw(st.lists(st.integers(-30, 30), min_size=features, max_size=features)))
    values = generator.normal(size=(60, features))
    target = (values @ generator.normal(size=features) + generator.normal(size=60) > 0).astype("int64")
    target[:2] = [0, 1]
    steps = np.array(draw(st.lists(st.sampled_from([0, 1, 1000]), min_size=features, max_size=features)))
    coarse = np.where(steps == 0, values, np.round(values * steps) / np.maximum(steps, 1))
    return pd.DataFrame(coarse * scales, columns=[f"feature {place}" for place in range(features)]).assign(
        target=target
    )


@settings(deadline=None, max_examples=30)
@given(tables(), cheap_hyperparameters())
def test_an_export_answers_as_its_estimator_whatever_the_rows(
    frame: pd.DataFrame, hyperparameters: GradientBoostingHyperparameters
) -> None:
    found = verified_export.export(frame, training.train(frame, hyperparameters)).parity
    assert found.passed, found.sentence()
    assert found.max_difference < 3e-7
    assert found.batch_differences == 0


@pytest.mark.parametrize("positives", [45, 55])
def test_trees_without_a_single_split_answer_with_the_share_of_the_class(positives: int) -> None:
    """skl2onnx's graph gives the wrong label here: onnxruntime takes scores without a negative leaf for shares."""
    frame = pd.DataFrame({"a": np.arange(100.0), "target": (np.arange(100) < positives).astype("int64")})
    made = verified_export.export(frame, training.train(frame, FEW.model_copy(update={"min_samples_leaf": 60})))
    assert made.parity.passed, made.parity.sentence()
    labels, probabilities = Predictor(made.content).predict_both(np.array([[1.0], [2.0]], dtype=np.float32))
    assert probabilities[:, 1] == pytest.approx(positives / 100, abs=1e-6)
    assert labels.tolist() == [int(positives > 50)] * 2


@pytest.mark.filterwarnings(
    "ignore:Field onnx.AttributeProto:DeprecationWarning"  # skl2onnx writes a boolean where onnx wants an integer
)
def test_the_export_agrees_with_skl2onnx() -> None:
    peer = Predictor(
        export.convert(fitted(BOOSTED), wine_data(), export.model_metadata(family_of(BOOSTED), BOOSTED, wine_data()))
    )
    rows = random_rows(1_000)
    labels, probabilities = peer.predict_both(rows)
    own = Predictor(exported(BOOSTED)).predict_both(rows)
    np.testing.assert_allclose(probabilities, own[1], rtol=0, atol=2e-6)
    assert labels.tolist() == own[0].tolist()


def test_a_row_has_the_same_bits_alone_and_in_any_batch_with_one_thread() -> None:
    assert not FAMILY.batch_invariant
    predictor = Predictor(exported(BOOSTED), threads=2)
    assert predictor.threads == 1
    rows = random_rows(3_000)
    together = predictor.predict_proba(rows)
    for size in (1, 2, 7, 64, 1_024, 2_999):
        parts = [predictor.predict_proba(rows[start : start + size]) for start in range(0, len(rows), size)]
        assert np.concatenate(parts).tobytes() == together.tobytes()


def test_one_output_alone_is_what_it_is_beside_the_other() -> None:
    predictor, rows = Predictor(exported(BOOSTED)), random_rows(3_000)
    labels, probabilities = predictor.predict_both(rows)
    assert predictor.predict(rows).tobytes() == labels.tobytes()
    assert predictor.predict_proba(rows).tobytes() == probabilities.tobytes()


def test_equal_inputs_give_equal_bytes_and_the_file_says_what_it_is() -> None:
    again = training.train(wine(), BOOSTED).estimator
    assert FAMILY.export(again, BOOSTED, wine_data()) == exported(BOOSTED)
    metadata = Predictor(exported(BOOSTED)).metadata
    assert metadata["family"] == "gradient_boosting"
    assert GradientBoostingHyperparameters(**json.loads(metadata["hyperparameters"])) == BOOSTED
    assert metadata["data_fingerprint"] == wine_data().fingerprint


def test_exporting_does_not_touch_the_estimator() -> None:
    before = bits(fitted(FEW))
    FAMILY.export(fitted(FEW), FEW, wine_data())
    assert bits(fitted(FEW)) == before


def test_an_export_comes_with_its_proof() -> None:
    found = verified_export.export(wine(), fitted_model(BOOSTED)).parity
    assert found.passed
    assert found.boundary_rows == parity.BOUNDARY_ROWS
    assert (found.label_flips, found.batch_differences, found.batch_invariant) == (0, 0, False)
