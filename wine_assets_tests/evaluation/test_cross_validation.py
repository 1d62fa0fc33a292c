import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wine_assets.errors import ConfigurationError, DataError
from wine_assets.evaluation.cross_validation import METRICS, Evaluation, EvaluationParams, evaluate, scores
from wine_assets.models.families.gradient_boosting import GradientBoostingHyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionHyperparameters
from wine_assets.models.reference import REFERENCE
from wine_assets.models.registry import family_of
from wine_assets_tests.support.wine_frames import DEFAULT, wine

UNREGULARIZED = LogisticRegressionHyperparameters(C=1e6, max_iter=2000)


@pytest.fixture(scope="module")
def default() -> Evaluation:
    return evaluate(wine(), DEFAULT, EvaluationParams())


@pytest.fixture(scope="module")
def reference() -> Evaluation:
    return evaluate(wine(), REFERENCE, EvaluationParams())


def noise(rows: int = 200, features: int = 60) -> pd.DataFrame:
    """Return features that know nothing of the target, and are enough to separate any rows that were seen."""
    generator = np.random.default_rng(41)
    names = [f"noise {place}" for place in range(features)]
    frame = pd.DataFrame(generator.normal(size=(rows, features)), columns=names)
    return frame.assign(target=np.arange(rows) % 2)


def one_informative_feature() -> pd.DataFrame:
    frame = noise(300, 4)
    return frame.assign(**{"noise 2": frame["noise 2"] + 2 * frame["target"]}).rename(columns={"noise 2": "signal"})


# --- honesty -----------------------------------------------------------------


def test_a_model_that_memorizes_gains_nothing_by_it() -> None:
    """It knows most of the rows that it was fitted on by heart; on rows held out from it, it guesses."""
    X, y = noise().drop(columns="target"), noise()["target"]
    by_heart = make_pipeline(StandardScaler(), LogisticRegression(C=1e6, max_iter=2000)).fit(X, y).score(X, y)
    found = evaluate(noise(), UNREGULARIZED, EvaluationParams(folds=5))
    assert by_heart > 0.75
    assert 0.35 < found.metrics["accuracy"] < 0.65
    assert 0.35 < found.metrics["roc_auc"] < 0.65
    assert found.metrics["log_loss"] > np.log(2)


def test_the_scaler_never_sees_a_row_that_is_held_out() -> None:
    """An outlier would otherwise shrink every other row's features, and its own prediction would betray it."""
    X, y = wine().drop(columns="target"), wine()["target"]
    X.iloc[5] *= 1000
    folds = RepeatedStratifiedKFold(n_splits=3, n_repeats=1, random_state=0)
    (train, test) = next(split for split in folds.split(X, y) if 5 in split[1])
    fold = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(X.iloc[train], y.iloc[train])
    found = evaluate(X.assign(target=y), DEFAULT, EvaluationParams(folds=3))
    expected = fold.predict_proba(X.iloc[test])[:, 1]
    assert any((found.probability[start : start + len(test)] == expected).all() for start in range(178 - len(test) + 1))


@pytest.mark.parametrize("hyperparameters", [DEFAULT, REFERENCE], ids=["scaled", "bare"])
def test_the_figures_are_those_of_scikit_learn_on_the_same_splits(
    hyperparameters: LogisticRegressionHyperparameters,
) -> None:
    params = EvaluationParams(folds=5, seed=7)
    X, y = wine().drop(columns="target"), wine()["target"]
    bare = LogisticRegression(C=hyperparameters.C, max_iter=5000)
    estimator = bare if hyperparameters.scaler == "none" else make_pipeline(StandardScaler(), bare)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=7)
    probability = cross_val_predict(estimator, X, y, cv=folds, method="predict_proba")[:, 1]
    found = evaluate(wine(), hyperparameters, params)
    assert sorted(found.probability) == sorted(probability)
    assert found.metrics == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(y, probability > 0.5),
            "log_loss": metrics.log_loss(y, probability),
            "roc_auc": metrics.roc_auc_score(y, probability),
            "brier_score": metrics.brier_score_loss(y, probability),
        }
    )


def test_every_row_is_held_out_once_a_repeat() -> None:
    found = evaluate(wine(), DEFAULT, EvaluationParams(folds=2, repeats=3))
    assert len(found.y) == len(found.probability) == 3 * 178
    assert found.confusion.sum() == 3 * 178
    assert found.y.sum() == 3 * 119


def test_repeats_shuffle_anew() -> None:
    found = evaluate(wine(), DEFAULT, EvaluationParams(folds=2, repeats=2))
    first, second = np.split(found.probability, 2)
    assert sorted(first) != sorted(second)


def test_equal_seeds_give_equal_figures_and_other_seeds_others() -> None:
    one, again, other = (evaluate(wine(), DEFAULT, EvaluationParams(folds=3, seed=seed)) for seed in (1, 1, 2))
    assert (one.metrics, one.deviations, one.importances) == (again.metrics, again.deviations, again.importances)
    assert one.probability.tobytes() == again.probability.tobytes()
    assert one.metrics != other.metrics
    assert one.importances != other.importances


def test_warnings_of_a_solver_do_not_come_from_every_fold() -> None:
    """The fit on all rows reports them, once."""
    evaluate(wine(), LogisticRegressionHyperparameters(max_iter=2), EvaluationParams(folds=3))


# --- figures -----------------------------------------------------------------


def test_the_default_is_better_than_the_reference_on_rows_that_neither_has_seen(
    default: Evaluation, reference: Evaluation
) -> None:
    assert default.metrics["accuracy"] > reference.metrics["accuracy"] + 0.03
    assert default.metrics["log_loss"] < reference.metrics["log_loss"] / 2
    assert default.metrics["brier_score"] < reference.metrics["brier_score"]
    assert default.metrics["roc_auc"] > reference.metrics["roc_auc"]


def test_deviations_are_over_folds(reference: Evaluation) -> None:
    """Ten folds of at most 18 rows differ by some hundredths of accuracy."""
    assert [*reference.deviations] == [*reference.metrics] == [*METRICS]
    assert 0.01 < reference.deviations["accuracy"] < 0.15


def test_the_confusion_counts_true_classes_by_row_and_predicted_ones_by_column() -> None:
    found = Evaluation({}, {}, np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.9, 0.5, 0.51]), ())
    assert found.confusion.tolist() == [[2, 1], [1, 1]]


def test_the_calibration_compares_what_was_predicted_with_what_was_seen(default: Evaluation) -> None:
    observed, predicted = default.calibration
    assert len(observed) == len(predicted) <= 10
    assert (np.diff(predicted) > 0).all()
    assert ((observed >= 0) & (observed <= 1)).all()


def test_scores_of_a_perfect_and_of_a_contrary_model() -> None:
    y = np.array([0, 1, 1, 0])
    assert scores(y, y.astype(float)) == pytest.approx(
        {"accuracy": 1, "log_loss": 0, "roc_auc": 1, "brier_score": 0}, abs=1e-12
    )
    contrary = scores(y, 1.0 - y)
    assert (contrary["accuracy"], contrary["roc_auc"], contrary["brier_score"]) == (0, 0, 1)
    assert np.isfinite(contrary["log_loss"])


def test_a_probability_of_a_half_is_class_0_as_predict_has_it() -> None:
    assert scores(np.array([0, 1]), np.array([0.5, 0.6]))["accuracy"] == 1


# --- importances -------------------------------------------------------------


def test_the_one_informative_feature_is_the_important_one() -> None:
    found = evaluate(one_informative_feature(), DEFAULT, EvaluationParams(folds=5))
    first, *others = found.importances
    assert first.feature == "signal"
    assert first.mean > 0.1
    assert all(abs(other.mean) < 0.03 for other in others)


def scikit_learns_importances(frame: pd.DataFrame) -> dict[str, float]:
    """Return the means of scikit-learn's own permutation importances over five held-out folds."""
    X, y = frame.drop(columns="target"), frame["target"]
    found = []
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0).split(X, y):
        estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X.iloc[train], y.iloc[train])
        result = permutation_importance(
            estimator, X.iloc[test], y.iloc[test], scoring="neg_log_loss", n_repeats=10, random_state=0
        )
        found.append(result.importances_mean)
    return dict(zip(X.columns, np.mean(found, axis=0), strict=True))


def large_frame(rows: int) -> pd.DataFrame:
    """Return rows of 13 features, the first of which tells the class."""
    generator = np.random.default_rng(3)
    y = np.arange(rows) % 2
    values = generator.normal(size=(rows, 13))
    values[:, 0] += y
    return pd.DataFrame(values, columns=[f"x{place}" for place in range(13)]).assign(target=y)


def direct_losses(frame: pd.DataFrame, hyperparameters: Any, params: EvaluationParams) -> Any:
    """Return the growth of the log-loss, [folds * permutations, features], with all copies of a fold at once."""
    X, y = frame.drop(columns="target"), frame["target"]
    folds = RepeatedStratifiedKFold(n_splits=params.folds, n_repeats=params.repeats, random_state=params.seed)
    found = []
    for number, (train, test) in enumerate(folds.split(X, y)):
        estimator = family_of(hyperparameters).fit(X.iloc[train], y.iloc[train], hyperparameters)
        generator = np.random.default_rng([params.seed, number])
        values, labels = X.iloc[test].to_numpy(), y.iloc[test].to_numpy()
        copies = np.broadcast_to(values, (params.permutations, 13, *values.shape)).copy()
        for repeat, feature in np.ndindex(params.permutations, 13):
            copies[repeat, feature, :, feature] = generator.permutation(values[:, feature])
        permuted = estimator.predict_proba(pd.DataFrame(copies.reshape(-1, 13), columns=X.columns))[:, 1]
        untouched = estimator.predict_proba(X.iloc[test])[:, 1]
        right = [np.where(labels == 1, p, 1 - p) for p in (permuted.reshape(*copies.shape[:3]), untouched)]
        losses = [-np.log(np.clip(p, np.finfo(np.float64).eps, 1)) for p in right]
        found.append(losses[0].mean(axis=2) - losses[1].mean())
    return np.concatenate(found)


@pytest.mark.parametrize("hyperparameters", [DEFAULT, GradientBoostingHyperparameters(max_iter=3)])
def test_importances_by_blocks(hyperparameters: Any) -> None:
    """Importances are those of all permuted copies at once, to the last bit, though they are predicted in blocks."""
    frame, params = large_frame(32_768), EvaluationParams(folds=2, permutations=2)
    importances = evaluate(frame, hyperparameters, params).importances
    direct = direct_losses(frame, hyperparameters, params)
    means = dict(zip(frame.columns[:-1], direct.mean(axis=0), strict=True))
    deviations = dict(zip(frame.columns[:-1], direct.std(axis=0), strict=True))
    assert {i.feature: i.mean for i in importances} == means
    assert {i.feature: i.deviation for i in importances} == deviations


def test_memory_of_importances() -> None:
    """A fold of 25,000 rows holds a few of its 130 permuted copies, which are 322 MiB together, at a time."""
    frame = large_frame(50_000)
    tracemalloc.start()
    try:
        evaluate(frame, DEFAULT, EvaluationParams(folds=2, permutations=10))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 120 << 20


def test_importances_agree_with_those_of_scikit_learn() -> None:
    """They are permuted otherwise, so they agree within noise; the most important features come in the same order."""
    frame = wine()
    found = {
        i.feature: i.mean for i in evaluate(frame, DEFAULT, EvaluationParams(folds=5, permutations=10)).importances
    }
    expected = scikit_learns_importances(frame)
    noise_of_it = 0.25 * max(expected.values())
    assert all(abs(found[name] - expected[name]) < noise_of_it for name in expected)
    assert next(iter(found)) == max(expected, key=lambda name: expected[name])
    assert set([*found][:4]) >= set(sorted(expected, key=lambda name: -expected[name])[:2])


def test_importances_are_sorted_and_complete(default: Evaluation) -> None:
    means = [importance.mean for importance in default.importances]
    assert means == sorted(means, reverse=True)
    assert {importance.feature for importance in default.importances} == {*wine().columns[:-1]}
    assert all(importance.deviation >= 0 for importance in default.importances)


def test_a_feature_that_never_varies_has_no_importance() -> None:
    found = evaluate(wine().assign(hue=1.0), DEFAULT, EvaluationParams(folds=3))
    (constant,) = (importance for importance in found.importances if importance.feature == "hue")
    assert (constant.mean, constant.deviation) == pytest.approx((0, 0), abs=1e-12)


# --- refusals ----------------------------------------------------------------


def test_more_folds_than_rows_of_a_class_are_refused_with_the_largest_number_that_works() -> None:
    frame = wine().query("target == 1").head(50)
    frame = pd.concat([frame, wine().query("target == 0").head(4)])
    with pytest.raises(DataError) as refusal:
        evaluate(frame, DEFAULT, EvaluationParams(folds=5))
    assert str(refusal.value) == (
        "`evaluation.folds` is 5, but the smaller class has 4 rows, and each fold needs one of each class. "
        "Set `evaluation.folds` to at most 4, or bring more rows."
    )
    assert len(evaluate(frame, DEFAULT, EvaluationParams(folds=4)).y) == 54


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"folds": 1}, "folds must be greater than or equal to 2, got 1"),
        ({"folds": 101}, "folds must be less than or equal to 100"),
        ({"folds": 2.0}, "folds must be a whole number"),
        ({"repeats": 0}, "repeats must be greater than or equal to 1"),
        ({"seed": -1}, "seed must be greater than or equal to 0"),
        ({"seed": 2**32}, "seed must be less than or equal to 4294967295"),
        ({"permutations": True}, "permutations must be a whole number"),
        ({"fold": 3}, "evaluation.fold is not known. Did you mean `folds`?"),
    ],
)
def test_parameters_out_of_range_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        EvaluationParams.model_validate(fields)
    assert str(refusal.value).startswith(says)


def test_the_largest_seed_works() -> None:
    evaluate(wine(), DEFAULT, EvaluationParams(folds=2, seed=2**32 - 1, permutations=1))
