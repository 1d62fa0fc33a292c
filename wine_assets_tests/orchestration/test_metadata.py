import dagster as dg
import pandas as pd

from wine_assets.orchestration import metadata as described

FRAME = pd.DataFrame({"ash": [1.25, None, 3.0], "n|a\nme": ["a|b", "c\nd", "e"], "target": [0, 1, 1]})


def test_a_frame_is_described_by_rows_columns_preview_and_statistics() -> None:
    metadata = described.frame(FRAME)
    assert metadata["dagster/row_count"] == 3
    assert [(column.name, column.type) for column in metadata["dagster/column_schema"].columns] == [
        ("ash", "float64"),
        ("n|a\nme", str(FRAME.dtypes.iloc[1])),
        ("target", "int64"),
    ]
    assert metadata["statistics"].value.splitlines()[2] == "| ash | float64 | 1 | 1.25 | 2.125 | 3 |"


def test_a_preview_shows_no_more_than_the_first_rows() -> None:
    preview = described.frame(pd.DataFrame({"a": range(100)}))["preview"]
    assert isinstance(preview, dg.MarkdownMetadataValue)
    assert preview.value.splitlines() == ["| a |", "| --- |", *(f"| {row} |" for row in range(5))]


def test_what_a_cell_holds_cannot_break_the_table() -> None:
    lines = described.table(["a", "b"], [["x|y", "two\nlines"]]).value.splitlines()
    assert lines == ["| a | b |", "| --- | --- |", "| x\\|y | two lines |"]


def test_numbers_keep_six_digits_and_nothing_is_shown_for_none() -> None:
    assert described.table(["a", "b"], [[1 / 3, None]]).value.endswith("| 0.333333 |  |")


def test_a_mapping_becomes_a_table_of_names_and_values() -> None:
    assert described.mapping({"C": 0.01}).value == "| name | value |\n| --- | --- |\n| C | 0.01 |"


def test_classes_are_counted_by_label_in_the_order_of_the_labels() -> None:
    assert [*described.class_counts(pd.Series([2, 0, 2, 1])).items()] == [("0", 1), ("1", 1), ("2", 2)]
    assert described.class_counts(pd.Series(["b", "a", "b"])) == {"a": 1, "b": 2}
