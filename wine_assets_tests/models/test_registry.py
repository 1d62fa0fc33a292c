import os
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.errors import FamilyError
from wine_assets.models.registry import GROUP, families, family_named, family_of

ROOT = Path(__file__).parents[2]
FOREIGN = """
import logging
logging.basicConfig(format="%(name)s: %(message)s")
from wine_assets.models.registry import families, family_named
print(*families())
try:
    family_named(NAME)
except Exception as error:
    print(type(error).__name__, error, sep=": ")
"""
"""Prints the families that can be used, and how one that can't be is refused."""
SEEDED = """
from typing import Literal
from wine_assets.models.base import Hyperparameters
from wine_assets.models.families.logistic_regression import LogisticRegressionFamily
class SeededHyperparameters(Hyperparameters):
    family: Literal["seeded"] = "seeded"
    seed: int = 0
class SeededFamily(LogisticRegressionFamily):
    name = "seeded"
    hyperparameters = SeededHyperparameters
FAMILY = SeededFamily()
"""
"""A family with a hyperparameter that has the name of another option of `wine-assets run`."""


def test_families_have_names_of_their_own() -> None:
    assert [family.name for family in families().values()] == [*families()]


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.name)
def test_a_family_is_found_by_its_hyperparameters(family: object) -> None:
    assert family_of(family.hyperparameters()) is family  # type: ignore[attr-defined] # a family is a protocol


def test_a_family_that_there_is_not() -> None:
    """It is refused with the families that there are."""
    with pytest.raises(FamilyError, match=rf"no family 'svm'\. .* are: {', '.join(families())}"):
        family_named("svm")


@pytest.mark.process
@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("lost = no_such_module:FAMILY", "can't be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
        ("lost = json:FAMILY", "can't be loaded (AttributeError: module 'json' has no attribute 'FAMILY')"),
        ("odd = json:dumps", "is no family: it is a function without batch_invariant, complexity, default_space, "),
        ("seeded = seeded:FAMILY", "is no family: its hyperparameters have the names of other options: seed."),
        ("logistic_regression = json:dumps", "has a name that wine-assets has taken"),
    ],
)
def test_unusable_entry_point(tmp_path: Path, entry: str, problem: str) -> None:
    """It is named with its distribution, in the log and when it is asked for, and breaks no other family."""
    info = tmp_path / "foreign_pack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry}\n")
    (tmp_path / "seeded.py").write_text(SEEDED)
    name = entry.partition(" ")[0]
    ended = subprocess.run(
        [sys.executable, "-c", FOREIGN.replace("NAME", repr(name))],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    sentence = f"The entry point `{entry}` of foreign-pack {problem}"
    usable, _, refusal = ended.stdout.partition("\n")
    assert usable.split() == [*families()]
    assert ended.stderr.startswith(f"wine_assets.models.registry: {sentence}")
    assert refusal.startswith("" if name in usable else f"FamilyError: {sentence}")


@pytest.mark.process
def test_outdated_installation() -> None:
    """An installation that names no families is refused with the remedy, before a form or flag is made of none."""
    program = "import importlib.metadata as m; m.entry_points = lambda **_: (); import wine_assets.definitions"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "names no family 'logistic_regression': it is older than this code, or damaged. Install it" in ended.stderr
