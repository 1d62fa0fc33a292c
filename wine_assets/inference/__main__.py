"""`python -m wine_assets.inference MODEL < rows.jsonl`: a line of answers for each line of named values."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from wine_assets.errors import InputError, WineAssetsError
from wine_assets.inference.predictor import Predictor

_CHUNK_BYTES = 1 << 18
"""Read at a time, about a thousand lines; what a terminal or a pipe has by then is answered at once."""
_LONGEST_LINE_BYTES = 1 << 20
FAILED, INTERRUPTED = 1, 130
Line = tuple[int, bytes]
"""Its number, and what stands in it."""


def main(arguments: list[str] | None = None) -> int:
    """Answer standard input line by line on standard output; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        predictor = Predictor.load(
            options.model,
            version=options.version,
            expected_sha256=options.sha256,
            extra=options.extra,
            extras=options.extras,
        )
        if not predictor.verified:
            _say("The model is unverified: no checksum from outside vouches for it (--sha256 gives one).")
        if sys.stdin is not None and sys.stdout is not None:  # None where the caller closed them
            _answer(predictor, sys.stdin.buffer, sys.stdout.buffer)
    except WineAssetsError as error:
        return _failed(str(error))
    except BrokenPipeError:
        _forget_what_was_not_written()  # the reader has seen enough
    except OSError as error:
        _forget_what_was_not_written()
        return _failed(f"The rows can't be read or the answers can't be written: {error.strerror}.")
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _failed(message: str) -> int:
    _say(message)
    return FAILED


def _say(message: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{message}\n")


def _forget_what_was_not_written() -> None:
    """Have Python's own attempt at exit to write the rest succeed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m wine_assets.inference",
        description='Read one JSON object of feature values a line, such as {"alcohol": 13.2, ...}, and write one of '
        "label and probabilities.",
    )
    parser.add_argument("model", help="a model repository's folder, or a lone model.onnx")
    parser.add_argument("--version", type=int, help="a version of the repository; the champion by default")
    parser.add_argument("--sha256", help="what the model file's SHA-256 must be")
    parser.add_argument(
        "--extra", choices=("forbid", "ignore"), default="forbid", help="what happens to values with unknown names"
    )
    parser.add_argument("--extras", choices=("refuse", "ignore"), help=argparse.SUPPRESS)
    return parser


def _answer(predictor: Predictor, source: BinaryIO, target: BinaryIO) -> None:
    for batch in _batches(source):
        answered, error = _answers(predictor, batch)
        target.write(answered)
        target.flush()
        if error is not None:
            raise error


def _answers(predictor: Predictor, batch: list[Line]) -> tuple[bytes, InputError | None]:
    """Return the answers to the lines before the first that can't be predicted, and what is wrong with that one."""
    try:
        return _encoded(predictor, [_values(line) for line in batch]), None
    except InputError:
        return _answers_one_by_one(predictor, batch)


def _answers_one_by_one(predictor: Predictor, batch: list[Line]) -> tuple[bytes, InputError | None]:
    answered = b""
    for line in batch:
        try:
            answered += _encoded(predictor, [_values(line)])
        except InputError as error:
            return answered, InputError(f"Line {line[0]}: {str(error).removeprefix('Row 0: ')}")
    return answered, None


def _encoded(predictor: Predictor, rows: list[dict[str, Any]]) -> bytes:
    labels, probabilities = predictor.predict_both(rows)
    return b"".join(
        msgspec.json.encode({"label": label, "probabilities": row}) + b"\n"
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    )


def _batches(source: BinaryIO) -> Iterator[list[Line]]:
    """Yield the lines that are there with their numbers, without blank ones."""
    number, rest = 1, b""
    while chunk := source.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]  # as standard input has it
        *lines, rest = (rest + chunk).split(b"\n")
        if batch := [line for line in enumerate(lines, number) if line[1].strip()]:
            yield batch
        number += len(lines)
        if len(rest) > _LONGEST_LINE_BYTES:
            raise InputError(f"Line {number} has more than {_LONGEST_LINE_BYTES} bytes. Give a row in each line.")
    if rest.strip():
        yield [(number, rest)]


def _values(line: Line) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line[1], type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"It must be a JSON object of feature values ({error}).") from None


if __name__ == "__main__":
    sys.exit(main())
