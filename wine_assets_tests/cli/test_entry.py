import importlib.util
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from wine_assets.cli.commands import run
from wine_assets.orchestration import instance
from wine_assets_tests.support.command_line import called, is_sentence


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "--C", "x"], ["'--C'", "must be a number, got 'x'", "`wine-assets run --help`"]),
        (["run", "--folds", "2.5"], ["'--folds'", "must be a whole number, got '2.5'"]),
        (["models", "prune", "--keep", "0"], ["'--keep'", "must be greater than or equal to 1"]),
        (["models", "show", "x"], ["'[VERSION]'", "must be a whole number"]),
        (["run", "--C"], ["'--C' requires an argument"]),
        (["run", "--solver", "adam"], ["'--solver'", "'adam' is not one of 'lbfgs'"]),
        (["run", "--Cc", "1"], ["--Cc", "(Possible options: --C)"]),
        (["run", "--evaluation", "3"], ["No such option: --evaluation"]),
        (["run", "wine.csv"], ["unexpected extra argument", "wine.csv"]),
        (["train"], ["No such command 'train'", "`wine-assets --help`"]),
        (["--loud"], ["No such option: --loud"]),
        (["run", "--source", ""], ["'--source'", "must not be empty"]),
        (["run", "--negative-class", "0", "--negative-class", ""], ["'--negative-class'", "must not be empty"]),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(arguments: list[str], parts: list[str]) -> None:
    ended = called(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert is_sentence(ended.err)
    for part in parts:
        assert part in ended.err
    assert "Value error" not in ended.err


def test_without_a_command_the_help_is_shown() -> None:
    ended = called()
    assert ended.status == 2
    assert "Commands" in ended.out + ended.err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["schema"]])
def test_what_succeeds_has_status_0(arguments: list[str]) -> None:
    ended = called(*arguments)
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("typer", "run", "pipeline"),
        ("typer", "models", "serve"),
        ("dagster", "run", "pipeline"),
        ("uvicorn", "serve", "serve"),
    ],
)
def test_a_missing_extra_is_named(missing: str, command: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    ended = called(command)
    assert ended.status == 2
    assert f"pip install 'wine-assets[{extra}]'" in ended.err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Have `wine-assets home` end with an exception that nobody foresaw."""

    def break_with(error: BaseException) -> None:
        def prepare(_: Any) -> None:
            raise error

        monkeypatch.setattr(instance, "prepare", prepare)

    return break_with


def test_an_error_that_nobody_foresaw_is_one_sentence_too(broken: Callable[[BaseException], None]) -> None:
    broken(RuntimeError("the disk\nis gone"))
    ended = called("home")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "The command ended with an unexpected RuntimeError: the disk is gone.\n"


def test_debug_is_recommended_by_the_commands_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(run, "materialize", fail)
    assert called("run").err.endswith("RuntimeError: the disk is gone. Add --debug to see where.\n")


def test_a_reader_who_leaves_ends_the_command_in_silence(broken: Callable[[BaseException], None]) -> None:
    """As `wine-assets schema | head -1` does."""
    broken(BrokenPipeError(32, "Broken pipe"))
    assert called("home").err == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_a_sentence_and_its_status(
    number: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "prepare", lambda _: os.kill(os.getpid(), number))
    ended = called("home")
    assert ended.status == status
    assert is_sentence(ended.err)
    assert number.name in ended.err
    assert "what was made so far is kept, and all else stays as it was" in ended.err


def test_a_signal_that_was_taken_for_a_failure_counts_as_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dagster records the step as failed and goes on; the command has a status of its own then."""

    def materialize(*_: Any, **__: Any) -> bool:
        before = signal.signal(signal.SIGINT, lambda *_: None)
        os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, before)
        return False

    monkeypatch.setattr(run, "materialize", materialize)
    assert called("run").status == 130


def test_an_exception_of_no_common_kind_is_not_hidden(broken: Callable[[BaseException], None]) -> None:
    class StrangeError(BaseException):
        pass

    broken(StrangeError())
    with pytest.raises(StrangeError):
        called("home")
