"""`python -m wine_assets.inference`, as a person or a script runs it."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.files import sha256_of_bytes
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.inference.__main__ import main
from wine_assets_tests.support.published_models import Publishable
from wine_assets_tests.support.wine_frames import wine

pytestmark = pytest.mark.process


def _lines(count: int) -> list[str]:
    rows = wine().drop(columns="target").to_dict("records")
    return [json.dumps(rows[at % len(rows)]) for at in range(count)]


def _run(text: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "wine_assets.inference", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def test_each_line_of_values_is_answered_in_order(released: ModelRepository) -> None:
    done = _run("\n\n".join(_lines(1_500)) + "\n", released.folder)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    labels, probabilities = Predictor.load(released.folder).predict_both(wine().drop(columns="target"))
    assert (done.returncode, done.stderr, len(answers)) == (0, "", 1_500)
    assert [answer["label"] for answer in answers[:178]] == labels.tolist()
    assert answers[177]["probabilities"] == pytest.approx(probabilities[177].tolist())


def test_single_model_file_is_unverified(first: Publishable, tmp_path: Path) -> None:
    """A single model file is reported as unverified unless its checksum is given."""
    path = tmp_path / "model.onnx"
    path.write_bytes(first.model)
    done = _run(_lines(1)[0], path)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert "The model is unverified" in done.stderr
    assert _run(_lines(1)[0], path, "--sha256", sha256_of_bytes(first.model)).stderr == ""
    assert "has the SHA-256" in _run(_lines(1)[0], path, "--sha256", "0" * 64).stderr


def test_version_without_promotion_is_unverified(released: ModelRepository, second: Publishable) -> None:
    """A version that never was champion is reported as unverified unless its checksum is given."""
    second.publish(released)
    assert "The model is unverified" in _run(_lines(1)[0], released.folder, "--version", "2").stderr
    checksum = second.content.model_sha256
    assert _run(_lines(1)[0], released.folder, "--version", "2", "--sha256", checksum).stderr == ""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"alcohol": 1', "Line 5: It must be a JSON object of feature values (Input data was truncated)."),
        ("[1, 2]", "Line 5: It must be a JSON object"),
        ("[" * 100_000, "Line 5: It must be a JSON object"),
        ("\x00", "Line 5: It must be a JSON object"),
        ('{"alcohol": NaN}', "Line 5: It must be a JSON object"),
        ('{"alcohol": 1}', "Line 5: `malic_acid`, `ash`"),
        ('{"self": 1}', "Line 5: `alcohol`, `malic_acid`"),
        (_lines(1)[0].replace("14.23", "true"), "Line 5: `alcohol` must be a number, got True"),
        (_lines(1)[0].replace("14.23", "null"), "Line 5: `alcohol` must be a number, got None"),
        (_lines(1)[0].replace("14.23", "1e39"), "Line 5: `alcohol` must be"),
    ],
)
def test_first_invalid_line_is_named(released: ModelRepository, line: str, sentence: str) -> None:
    """The first invalid line is named after the predictions of the lines before it.

    Blank lines count as lines.
    """
    done = _run("\n".join([_lines(1)[0], "", " ", *_lines(1), line, *_lines(2), "{"]), released.folder)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_line_behind_many_good_ones_has_its_own_number(released: ModelRepository) -> None:
    done = _run("\n".join([*_lines(1_500), "{"]), released.folder)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1_500)
    assert "Line 1501: It must be a JSON object" in done.stderr


def test_endless_line_is_rejected(released: ModelRepository) -> None:
    """A line above the limit is rejected before it fills the memory."""
    done = _run("1" * 3_000_000, released.folder)
    assert (done.returncode, done.stderr) == (1, "Line 1 has more than 1048576 bytes. Give a row in each line.\n")


def test_nothing_at_all_is_answered_with_nothing(released: ModelRepository) -> None:
    for text in ("", "\n \n"):
        done = _run(text, released.folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_interactive_lines_are_answered_at_once(released: ModelRepository) -> None:
    """A program that waits for each prediction gets it before it sends the next line.

    It sends the next row only when it has the answer to the one before.
    """
    command = [sys.executable, "-m", "wine_assets.inference", str(released.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in _lines(3):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["label"] == 0
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_whatever_the_caller_closed_is_done_without(released: ModelRepository, closed: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m wine_assets.inference "$1" {closed}', sys.executable, str(released.folder)]
    done = subprocess.run(command, input=_lines(1)[0], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_named(released: ModelRepository) -> None:
    command = [sys.executable, "-m", "wine_assets.inference", str(released.folder)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, input=_lines(1)[0].encode(), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    sentence = b"The rows can't be read or the answers can't be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_an_interruption_ends_it_without_a_traceback(released: ModelRepository) -> None:
    command = [sys.executable, "-m", "wine_assets.inference", str(released.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(_lines(1)[0].encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(60), process.stderr.read()) == (130, b"")


@pytest.mark.parametrize("arguments", [[], ["model", "--extra", "drop"], ["model", "--version", "one"]])
def test_a_command_that_is_not_understood_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m wine_assets.inference" in capsys.readouterr().err


def test_a_version_and_unknown_names_can_be_chosen(released: ModelRepository, second: Publishable) -> None:
    second.publish(released)
    line = json.dumps(json.loads(_lines(1)[0]) | {"colour": "red"})
    refused = _run(line, released.folder)
    assert (refused.returncode, "`colour` is not known" in refused.stderr) == (1, True)
    answers = [
        json.loads(_run(line, released.folder, option, "ignore", "--version", version).stdout)
        for option, version in (("--extra", 1), ("--extras", 2))  # the second is its deprecated name
    ]
    assert answers[0] != answers[1]
    gone = _run(line, released.folder, "--version", "9")
    assert (gone.returncode, gone.stdout, "9" in gone.stderr) == (1, "", True)


@pytest.mark.parametrize(("some", "more"), [(1, 1), (1_000, 20_000)])
def test_a_reader_that_has_seen_enough_is_no_error(released: ModelRepository, some: int, more: int) -> None:
    command = [sys.executable, "-m", "wine_assets.inference", str(released.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("\n".join(_lines(some)).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may have ended by now
            process.stdin.write("\n".join(_lines(more)).encode())
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_a_model_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.onnx")]) == 1
    assert "There is no model to read at" in capsys.readouterr().err
