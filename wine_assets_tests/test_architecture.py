import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wine_assets"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
SOURCES = ("wine_assets", "wine_assets_tests", "benchmarks", "docs", "deploy", "examples", ".ci")
REGISTRY = re.compile(rb"pypi\.org|pythonhosted\.org|index[-_]url|extra[-_]index|find[-_]links", re.IGNORECASE)

FAMILY_NAMES = re.compile(r"gradient_?boosting|HistGradient|logistic_?regression", re.IGNORECASE)
FAMILY_FILES = ("models/families/", "models/reference.py", "workflow.py")
"""Where families may be named; the docstring of the workflow states what its reference is equal to."""


def _first_line(module: Path) -> str:
    return (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]


def _texts() -> list[Path]:
    nested = [path for folder in SOURCES for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    top = [path for path in ROOT.iterdir() if not path.name.startswith(".coverage")]  # data of tests side by side
    return [path for path in (*top, *nested) if path.is_file() and path != Path(__file__)]


def _contracts(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    return subprocess.run(
        [*command, "--config", str(ROOT / "setup.cfg")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.process
def test_imports_point_one_way() -> None:
    """The layer contracts of setup.cfg hold; they are proved by import-linter."""
    done = _contracts(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_a_package_says_nothing_itself(package: Path) -> None:
    """But for the library that services install, whose public names it is."""
    if package.name != "inference":
        assert (package / "__init__.py").read_text() == ""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_in_one_sentence_what_belongs_there(module: Path) -> None:
    line = _first_line(module)
    assert line.endswith(".")
    assert ". " not in line
    assert line[0].isupper() or line[0] == "`"


def test_no_two_modules_are_about_the_same() -> None:
    lines = [_first_line(module) for module in MODULES]
    assert len({*lines}) == len(lines)


def test_only_its_file_names_a_family() -> None:
    """All other code takes families from the registry."""
    others = [path for path in MODULES if not str(path.relative_to(PACKAGE)).startswith(FAMILY_FILES)]
    assert [str(path) for path in others if FAMILY_NAMES.search(path.read_text())] == []


def test_no_file_says_where_packages_come_from() -> None:
    """A user's own index and mirror settings hold; the pins are names and versions."""
    assert len(_texts()) > 100
    assert [str(path) for path in _texts() if REGISTRY.search(path.read_bytes())] == []


def test_every_pin_is_exact() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [line for line in lines if line]
    assert len(pins) > 50
    assert [pin for pin in pins if not re.fullmatch(r"[\w.\-]+==[\w.+]+( ;.*)?", pin)] == []
