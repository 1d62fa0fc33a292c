import pytest

from wine_assets.cli.options import in_flags


@pytest.mark.parametrize(
    ("message", "worded"),
    [
        ("Set `evaluation.folds` to at most 59", "Set --folds to at most 59"),
        ("There is no file a.csv: check `path`", "There is no file a.csv: check --source"),
        ("change `negative_classes` in the run config", "change --negative-class"),
        ("`negative_classes` must leave rows on both sides", "--negative-class must leave rows on both sides"),
        ("Name the class column in `class_column`", "Name the class column in --class-column"),
        ("`features` names `hue`, which", "--feature names `hue`, which"),
        ("leave the column out with `features`.", "leave the column out with --feature."),
        ("Use `url_variable`, `url` otherwise.", "Use --database-variable, --database otherwise."),
        ("one of `source.url` and `source.url_variable`", "one of --database and --database-variable"),
        ("`query` must be one SELECT statement", "--query must be one SELECT statement"),
        ("Change `budget.trials` in the run config.", "Change --trials."),
        ("`failures.min_success_ratio` is 0.5", "--min-success-ratio is 0.5"),
        ("Set `objective.folds` to at most 5", "Set --folds to at most 5"),
        ("`search.nested_folds` is 11", "--nested-folds is 11"),
        ("Change `space.gradient_boosting` in the run config.", "Change --space."),
        ("Change `space.logistic_regression.C` in the run config.", "Change --space."),
        ("Change `space.low` in the run config.", "Change --space."),
        (
            "Change `space.logistic_regression.solver` to saga, or `space.logistic_regression.l1_ratio` to 0.",
            "Give --space solver=saga, or --space l1_ratio=0.",
        ),
        ("Change `space` in the run config.", "Change --family."),
        ("Start one, or change `backend.address`.", "Start one, or change --address."),
        ("Change `strategy.seed` in the run config.", "Change --seed."),
    ],
)
def test_a_message_names_options_where_it_means_fields(message: str, worded: str) -> None:
    assert in_flags(message) == worded


@pytest.mark.parametrize(
    "message",
    [
        "`url` must hold numbers, and 2 rows have none",
        "--class-column names `path`, which a.csv lacks: its columns are `query`, `features`",
        "more than one column named `url`",
        "the column `query` is missing",
    ],
)
def test_a_column_that_is_called_as_a_field_keeps_its_name(message: str) -> None:
    assert in_flags(message) == message
