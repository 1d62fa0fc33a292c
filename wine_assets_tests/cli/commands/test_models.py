import json
import re
from pathlib import Path
from typing import Any

import pytest

from wine_assets.inference import ModelRepository
from wine_assets_tests.support.command_line import QUICK, Ended, called


@pytest.fixture
def repository(made: Path) -> ModelRepository:
    """The repository of a home in which a model was released, and then another one."""
    assert called("run", "--C", "0.5", *QUICK).status == 0
    return ModelRepository(made / "models" / "wine")


def _json(*arguments: str) -> Any:
    ended = called("models", *arguments, "--json")
    assert ended.err == ""
    return json.loads(ended.out)


def _succeeded(*arguments: str) -> str:
    ended = called("models", *arguments)
    assert (ended.status, ended.err) == (0, "")
    return ended.out


def _refused(ended: Ended, sentence: str) -> None:
    assert (ended.status, ended.out) == (1, "")
    assert re.search(sentence, ended.err)
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("repository")
def test_versions_are_listed_and_the_champion_is_marked() -> None:
    assert [(row["version"], row["champion"]) for row in _json("list")] == [(1, False), (2, True)]
    assert re.search(r"^ ?2 +20\d\d-.* logistic_regression .* champion", _succeeded("list"), re.MULTILINE)


def test_a_damaged_version_is_listed_with_what_is_wrong(repository: ModelRepository) -> None:
    (repository.folder / "versions" / "1" / "model.onnx").write_bytes(b"")
    assert "has 0 bytes" in _succeeded("list")
    ended = called("models", "verify")
    assert ended.status == 1
    assert "version 1: " in ended.out
    assert "version 2: whole, and answers its samples" in ended.out
    assert [bool(row["error"]) for row in _json("verify")] == [True, False]


@pytest.mark.usefixtures("repository")
def test_a_version_is_shown_with_its_parameters_and_its_features() -> None:
    champion, first = _succeeded("show"), _succeeded("show", "1")
    assert "wine, version 2" in champion
    assert "C=0.5" in champion
    assert "C=1.0" in first
    assert re.search(r"^ ?alcohol +11\.03 +13\.05 +14\.83", first, re.MULTILINE)
    assert _json("show", "1")["content"]["parameters"]["C"] == 1.0


def test_the_champion_is_moved_back_and_forth_and_the_moves_are_on_record(repository: ModelRepository) -> None:
    assert "Version 1 is the champion" in _succeeded("rollback")
    assert _json("promote", "2")["version"] == 2
    assert [move["rollback"] for move in _json("history")] == [False, False, True, False]
    assert "rolled back" in _succeeded("history")
    assert repository.read().version == 2


def test_old_versions_are_pruned_but_never_the_champion_nor_the_one_before_it(repository: ModelRepository) -> None:
    assert called("run", "--C", "0.25", *QUICK).status == 0
    assert _json("prune", "--keep", "1") == {"removed": [1]}
    assert repository.versions() == [2, 3]
    assert _succeeded("prune", "--keep", "1") == "Removed: nothing.\n"


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["promote", "7"], r"has no version 7\. Its versions are: 1, 2\."),
        (["show", "0"], "A version is a whole number from 1, got '0'"),
        (["list", "--name", "../wine"], r"'\.\./wine' can't be the name of a model"),
        (["list", "--name", "beer"], r"models/beer has no versions\. Make one: make run\."),
        (["rollback", "--name", "beer"], r"models/beer has no champion"),
        (["verify", "--name", "beer"], r"models/beer has no versions\. Make one: make run\."),
        (["prune", "--name", "beer"], r"models/beer has no versions\. Make one: make run\."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], sentence: str) -> None:
    _refused(called("models", *arguments), sentence)


@pytest.mark.usefixtures("repository")
def test_there_is_nothing_to_go_back_to_before_the_first_champion() -> None:
    _succeeded("rollback")
    _refused(called("models", "rollback"), "There is no champion before version 1 to go back to")
