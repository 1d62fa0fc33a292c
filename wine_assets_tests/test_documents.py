"""The documents name what exists: links, paths, flags of the server, and one page for each decision."""

import dataclasses
import re
import textwrap
from pathlib import Path

import dagster as dg
import pytest

from wine_assets.definitions import defs
from wine_assets.serving.settings import ServeSettings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = ROOT / "docs" / "decisions"
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
PATH = re.compile(r"`((?:wine_assets|wine_assets_tests|benchmarks|docs|examples)/[\w./-]*)`")
GUIDE = ROOT / "docs" / "guide.md"
FORMS = {"hyperparameters:": "training_job", "strategy:": "search_job", "backend:": "search_job"}
"""The job that a form in the guide is for, by the first word of the form."""
TEST = re.compile(r"`([\w/]*test_\w+\.py)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document: Path) -> None:
    """Each relative link of a document leads somewhere, and so does each path of code or tests."""
    text = document.read_text()
    links = [document.parent / target for target in LINK.findall(text)]
    paths = [ROOT / path for path in PATH.findall(text)]
    tests = [ROOT / "wine_assets_tests" / path for path in TEST.findall(text)]
    assert [str(path) for path in (*links, *paths, *tests) if not path.exists()] == []


def test_decisions_are_listed() -> None:
    """The index of the decisions has each page once, in order, and the numbers have no gap."""
    pages = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    listed = re.findall(r"^\| \[\d{4}\]\((\d{4}-[\w-]+\.md)\)", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    assert listed == pages
    assert [int(name[:4]) for name in pages] == [*range(1, len(pages) + 1)]


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.name[:4])
def test_decision_form(page: Path) -> None:
    """A decision has a numbered title, a status, and the same four headings."""
    title, _, status, *_ = page.read_text().splitlines()
    assert title.startswith(f"# {page.name[:4]}: ")
    assert re.match(r"Status: (accepted|superseded)", status)
    headings = re.findall(r"^## (\w+)$", page.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequence", "Evidence"]


def test_server_flags_are_documented() -> None:
    """The guide has a row for each flag of the server, in the order of the settings, with its default."""
    _, _, rest = GUIDE.read_text().partition("| flag | meaning | default |\n")
    rows = re.findall(r"^\| `--([a-z-]+)` \| .* \| `?(.*?)`? \|$", rest.partition("\n\n")[0], re.MULTILINE)
    fields = dataclasses.fields(ServeSettings)
    assert [flag.replace("-", "_") for flag, _ in rows] == [field.name for field in fields]
    defaults = {field.name: f"{field.default:.15g}" for field in fields if type(field.default) in (int, float)}
    assert {flag.replace("-", "_"): default for flag, default in rows}.items() >= defaults.items()


@pytest.mark.parametrize(("word", "job"), FORMS.items(), ids=FORMS)
def test_forms_are_valid(word: str, job: str) -> None:
    """Dagster accepts each form of the guide as the run config of its job."""
    blocks = map(textwrap.dedent, re.findall(r"(?:^    .*\n)+", GUIDE.read_text(), re.MULTILINE))
    forms = [block for block in blocks if block.startswith(word)]
    assert forms
    for form in forms:
        assert dg.validate_run_config(defs.resolve_job_def(job), dg.config_from_yaml_strings([form]))
