import os
from pathlib import Path

import pytest

from wine_assets.cli.output import terminal

LONG = "a path of " + "many " * 60 + "folders"
Output = pytest.CaptureFixture[str]


def test_plain_text_is_neither_cut_nor_wrapped(capsys: Output) -> None:
    terminal.console().print(LONG)
    assert capsys.readouterr().out == f"{LONG}\n"


def test_what_looks_like_markup_is_printed_as_it_is(capsys: Output) -> None:
    terminal.console().print("/data/[red]wine[/red]:smile:.csv")
    assert capsys.readouterr().out == "/data/[red]wine[/red]:smile:.csv\n"


def test_errors_have_a_console_of_their_own(capsys: Output) -> None:
    terminal.console(stderr=True).print("no")
    assert capsys.readouterr() == ("", "no\n")


def test_a_terminal_keeps_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    assert terminal.console().width == 70


def test_the_users_output_stays_while_the_process_own_is_diverted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster has the output of a run's process go to a file, and prints what arrives there a little later."""
    with (
        (tmp_path / "log").open("w") as log,
        os.fdopen(os.dup(1), "w") as output,
        monkeypatch.context() as patch,
    ):
        patch.setattr("sys.stdout", output)
        with terminal.user_console() as console:
            os.dup2(log.fileno(), output.fileno())
            console.print("for the user")
            output.write("for the log\n")
    assert capfd.readouterr().out == "for the user\n"
    assert (tmp_path / "log").read_text() == "for the log\n"


def test_output_that_is_no_file_of_the_systems_is_printed_to_all_the_same(capsys: Output) -> None:
    with terminal.user_console(stderr=True) as console:
        console.print("no")
    assert capsys.readouterr().err == "no\n"
