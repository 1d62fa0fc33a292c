import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from wine_assets.errors import ArtifactError, ConflictError
from wine_assets.search.journal import Journal, prune
from wine_assets_tests.support.search_builders import trial_result

ONE, TWO, THREE = (
    trial_result(0, 0.5, 0.25, C=1.0),
    trial_result(1, state="failed", C=2.0),
    trial_result(2, 1 / 3, 0.5, C="x\n☃"),
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "search", {"seed": 1})


def written(journal: Journal) -> bytes:
    return (journal.folder / "journal.jsonl").read_bytes()


def test_outcomes_come_back_as_they_were_in_the_order_in_which_they_were_appended(journal: Journal) -> None:
    for found in (ONE, THREE, TWO):
        journal.append(found)
    assert journal.results() == [ONE, THREE, TWO] == Journal(journal.folder).results()


def test_a_journal_in_which_nothing_was_written_has_no_outcomes(journal: Journal) -> None:
    assert journal.results() == []


def test_it_says_what_the_search_is_about(journal: Journal) -> None:
    assert json.loads((journal.folder / "search.json").read_text()) == {"seed": 1}
    file = (journal.folder / "search.json").stat().st_ino
    Journal.open(journal.folder, {"seed": 1})
    assert (journal.folder / "search.json").stat().st_ino == file, "it is not written anew"


def test_wherever_a_killed_writer_stopped_its_line_is_an_outcome_or_none(journal: Journal) -> None:
    """And what is appended after it is one."""
    journal.append(ONE)
    journal.append(TWO)
    whole = written(journal)
    first = len(whole.splitlines()[0]) + 1
    for cut in range(first, len(whole) + 1):
        torn = Journal(journal.folder.parent / str(cut))
        torn.folder.mkdir()
        (torn.folder / "journal.jsonl").write_bytes(whole[:cut])
        before = torn.results()
        assert before == ([ONE, TWO] if cut >= len(whole) - 1 else [ONE])
        torn.append(THREE)
        assert torn.results() == [*before, THREE]
        torn.close()


@pytest.mark.parametrize(
    "line", [b"", b"\x00\xff\xfe", b"{}", b"null", b'{"number": "x"}', b"\xe2\x98", b"[" * 100_000]
)
def test_a_line_that_is_no_outcome_is_passed_over(journal: Journal, line: bytes) -> None:
    journal.append(ONE)
    with (journal.folder / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    journal.append(TWO)
    assert journal.results() == [ONE, TWO]


@pytest.mark.process
def test_several_processes_may_append_at_once(journal: Journal) -> None:
    program = (
        "import sys; from pathlib import Path; from wine_assets.search.journal import Journal;"
        "from wine_assets_tests.support.search_builders import trial_result\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(200): journal.append(trial_result(number, *[0.1] * 50, C=float(sys.argv[2])))"
    )
    command = [sys.executable, "-c", program, str(journal.folder)]
    processes = [subprocess.Popen([*command, str(writer)]) for writer in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    found = [(outcome.parameters["C"], outcome.number) for outcome in journal.results()]
    assert sorted(found) == [(writer, number) for writer in range(3) for number in range(200)]
    assert [number for writer, number in found if writer == 1] == [*range(200)]


# --- two searches of the same ------------------------------------------------


def test_one_search_at_a_time_holds_a_journal(journal: Journal) -> None:
    with (
        journal.lock(),
        pytest.raises(ConflictError, match=f"Another process is at this same search, in {journal.folder}"),
        Journal(journal.folder).lock(),
    ):
        pass
    with Journal(journal.folder).lock():
        pass


def test_steps_share_a_journal(journal: Journal) -> None:
    """Steps of other trials share a journal; a whole search and a step refuse each other."""
    with (
        journal.claim(range(10)),
        Journal(journal.folder).claim(range(10, 20)),
        pytest.raises(ConflictError),
        Journal(journal.folder).lock(),
    ):
        pass
    with journal.lock(), pytest.raises(ConflictError), Journal(journal.folder).claim(range(10)):
        pass


@pytest.mark.process
def test_second_claim_waits_for_the_first(journal: Journal) -> None:
    """A step waits for another process that has claimed one of its trials, until that process is killed."""
    program = (
        "import sys, time; from pathlib import Path; from wine_assets.search.journal import Journal\n"
        "with Journal(Path(sys.argv[1])).claim(range(5, 10)): print('claimed', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(journal.folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        waits: list[int] = []
        with journal.claim(range(5), lambda: waits.append(5)):
            assert not waits, "it has other trials"

        def end_other() -> None:
            waits.append(9)
            process.kill()

        with journal.claim(range(9, 20), end_other):
            assert waits == [9]


def test_old_journals_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest journals stay, and so do young ones, one that is in use, and folders that are no journals."""
    journals = [Journal.open(tmp_path / str(age), {}) for age in range(5)]
    for age, journal in enumerate(journals):
        os.utime(journal.folder / "search.json", (1e9 - age, 1e9 - age))
    (tmp_path / "runs").mkdir()
    with journals[4].lock():
        prune(tmp_path, kept=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "4", "runs"]
    Journal.open(tmp_path / "4", {})
    prune(tmp_path, kept=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4", "runs"]


@pytest.mark.process
def test_a_killed_search_holds_nothing(journal: Journal) -> None:
    program = (
        "import sys, time; from pathlib import Path; from wine_assets.search.journal import Journal\n"
        "with Journal(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(journal.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError), journal.lock():
            pass
        process.kill()
    with journal.lock():
        pass


def test_an_error_of_the_search_lets_go_of_its_journal(journal: Journal) -> None:
    journal.append(ONE)
    with pytest.raises(ZeroDivisionError), journal.lock():
        1 / 0  # noqa: B018 - the error is what it is for
    with journal.lock():
        assert journal.results() == [ONE]


# --- disks -------------------------------------------------------------------


def test_a_journal_that_can_not_be_read_is_named(journal: Journal) -> None:
    (journal.folder / "journal.jsonl").mkdir()
    with pytest.raises(ArtifactError, match=r"journal.jsonl can't be read.*Give its folder back"):
        journal.results()


def test_a_journal_that_can_not_be_written_is_named(journal: Journal) -> None:
    (journal.folder / "journal.jsonl").mkdir()
    with pytest.raises(ArtifactError, match=r"journal.jsonl can't be written"):
        journal.append(ONE)


def test_a_folder_in_which_no_journal_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "search").write_text("no folder")
    with pytest.raises(
        ArtifactError, match=r"The journal .*search can't be written.*Make room, or let this user write"
    ):
        Journal.open(tmp_path / "search", {})
    with pytest.raises(ArtifactError, match=r"can't be written"), Journal(tmp_path / "search").lock():
        pass


def test_a_lock_that_can_not_be_taken_for_another_reason_is_no_other_search(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", full)
    with pytest.raises(ArtifactError, match=os.strerror(errno.ENOLCK)), journal.lock():
        pass


def test_an_outcome_that_took_long_is_flushed_at_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    for _ in range(3):
        journal.append(msgspec.structs.replace(ONE, seconds=3600.0))
    assert len(flushed) == 3


def test_a_disk_that_is_full_when_all_is_flushed_is_an_error(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal.append(ONE)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=os.strerror(errno.ENOSPC)):
        journal.close()
    journal.close()


def test_a_disk_that_is_full_in_the_middle_of_a_line_is_an_error(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half of the line that was written is passed over later."""
    write = os.write
    journal.append(ONE)
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[: len(line) // 2]))
    with pytest.raises(ArtifactError, match=os.strerror(errno.ENOSPC)):
        journal.append(TWO)
    monkeypatch.undo()
    journal.append(THREE)
    assert journal.results() == [ONE, THREE]


def test_what_was_appended_is_flushed_within_half_a_second_and_at_the_end(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with journal.lock():
        journal.append(ONE)
        assert len(flushed) == 1
        now[0] += 0.4
        journal.append(TWO)
        assert len(flushed) == 1
        now[0] += 0.2
        journal.append(THREE)
        assert len(flushed) == 2
    assert len(flushed) == 3
    journal.close()
    assert len(flushed) == 3
