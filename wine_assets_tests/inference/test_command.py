"""`python -m wine_assets.inference`, as a person or a script runs it."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from wine_assets.files import sha256_of_bytes
from wine_assets.inference import ModelRepository, Predictor
from wine_assets.inference.__main__ import main
from wine_assets_tests.inference.published import Publishable
from wine_assets_tests.wines import wine


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


def test_a_lone_model_says_that_it_is_unverified_unless_its_checksum_is_given(
    first: Publishable, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(first.model)
    done = _run(_lines(1)[0], path)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert "The model is unverified" in done.stderr
    assert _run(_lines(1)[0], path, "--sha256", sha256_of_bytes(first.model)).stderr == ""
    assert "has the SHA-256" in _run(_lines(1)[0], path, "--sha256", "0" * 64).stderr


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"alcohol": 1', "Line 3 must be a JSON object of feature values"),
        ("[1, 2]", "Line 3 must be a JSON object"),
        ("[" * 100_000, "Line 3 must be a JSON object"),
        ('{"alcohol": 1}', "Lines 1 to 3 can't be predicted. Row 2: `malic_acid`"),
        ('{"alcohol": NaN}', "Line 3 must be a JSON object"),
    ],
)
def test_a_line_that_cannot_be_predicted_is_named(released: ModelRepository, line: str, sentence: str) -> None:
    done = _run("\n".join([*_lines(2), line]), released.folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_answered_before_a_bad_line_is_printed(released: ModelRepository) -> None:
    done = _run("\n".join([*_lines(1_000), "{"]), released.folder)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 1_000)
    assert "Line 1001 must be a JSON object" in done.stderr


def test_a_version_and_unknown_names_can_be_chosen(released: ModelRepository, second: Publishable) -> None:
    second.publish(released)
    line = json.dumps(json.loads(_lines(1)[0]) | {"colour": "red"})
    refused = _run(line, released.folder)
    assert (refused.returncode, "`colour` is not known" in refused.stderr) == (1, True)
    answers = [
        json.loads(_run(line, released.folder, "--extras", "ignore", "--version", version).stdout) for version in (1, 2)
    ]
    assert answers[0] != answers[1]


def test_a_reader_that_has_seen_enough_is_no_error(released: ModelRepository) -> None:
    command = [sys.executable, "-m", "wine_assets.inference", str(released.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("\n".join(_lines(1_000)).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # it may have ended by now
            process.stdin.write("\n".join(_lines(20_000)).encode())
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_a_model_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.onnx")]) == 1
    assert "There is no model to read at" in capsys.readouterr().err
