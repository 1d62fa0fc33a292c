"""The table of families in the guide; `python -m wine_assets_tests.models.test_guide_table` writes it anew."""

import re
from pathlib import Path

from wine_assets.models.registry import families
from wine_assets.search import space, space_text

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
HEADER = "| family | what it is | searched by default |\n|---|---|---|\n"
TABLE = re.compile(re.escape(HEADER) + r"(?:\|.*\n)*")


def table() -> str:
    """Return the table: a row for each family, with its description and its default search space."""
    spaces = space.default_families([*families()])
    rows = []
    for name, family in families().items():
        searched = [f"`{field}={space_text.text_of(over)}`" for field, over in spaces[name].parameters.items()]
        rows.append(f"| `{name}` | {family.description.rstrip('.')} | {', '.join(searched)} |\n")
    return HEADER + "".join(rows)


def test_guide_lists_every_family() -> None:
    """The table of the guide is the one that the registry makes."""
    assert TABLE.findall(GUIDE.read_text()) == [table()]


if __name__ == "__main__":
    GUIDE.write_text(TABLE.sub(lambda _: table(), GUIDE.read_text()))
