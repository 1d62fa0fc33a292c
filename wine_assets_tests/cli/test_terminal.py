import pytest

from wine_assets.cli import terminal

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
