"""`python -m wine_assets.inference MODEL < rows.jsonl` predicts JSON lines of named values."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from wine_assets.errors import InputError, WineAssetsError
from wine_assets.inference.predictor import Predictor

_CHUNK_BYTES = 1 << 18
"""Size of one read, about a thousand lines; a terminal or a pipe returns what it has."""
_MAX_LINE_BYTES = 1 << 20
FAILED, INTERRUPTED = 1, 130
Line = tuple[int, bytes]
"""The number of a line, and its content."""


def main(arguments: list[str] | None = None) -> int:
    """Predict standard input line by line on standard output; return the exit status."""
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
            _print_error("The model is unverified: no checksum from outside vouches for it (--sha256 gives one).")
        if sys.stdin is not None and sys.stdout is not None:  # None if the caller closed them
            _predict_stream(predictor, sys.stdin.buffer, sys.stdout.buffer)
    except WineAssetsError as error:
        _print_error(str(error))
        return FAILED
    except BrokenPipeError:
        _discard_output()  # the reader closed the pipe
    except OSError as error:
        _discard_output()
        _print_error(f"The rows can't be read or the answers can't be written: {error.strerror}.")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _print_error(message: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{message}\n")


def _discard_output() -> None:
    """Redirect standard output to nowhere, so that Python's own flush at exit succeeds."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


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


def _predict_stream(predictor: Predictor, source: BinaryIO, target: BinaryIO) -> None:
    for batch in _read_batches(source):
        output, error = _predict_lines(predictor, batch)
        target.write(output)
        target.flush()
        if error is not None:
            raise error


def _predict_lines(predictor: Predictor, lines: list[Line]) -> tuple[bytes, InputError | None]:
    """Return the predictions for the lines before the first invalid one, and the error of that one."""
    try:
        return _predict(predictor, [_decode(line) for line in lines]), None
    except InputError:
        return _predict_one_by_one(predictor, lines)


def _predict_one_by_one(predictor: Predictor, lines: list[Line]) -> tuple[bytes, InputError | None]:
    output = b""
    for line in lines:
        try:
            output += _predict(predictor, [_decode(line)])
        except InputError as error:
            return output, InputError(f"Line {line[0]}: {str(error).removeprefix('Row 0: ')}")
    return output, None


def _predict(predictor: Predictor, rows: list[dict[str, Any]]) -> bytes:
    labels, probabilities = predictor.predict_both(rows)
    return b"".join(
        msgspec.json.encode({"label": label, "probabilities": row}) + b"\n"
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    )


def _read_batches(source: BinaryIO) -> Iterator[list[Line]]:
    """Yield the lines that arrive together, with their numbers and without blank ones."""
    number, rest = 1, b""
    while chunk := source.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]  # a buffered reader has it
        *lines, rest = (rest + chunk).split(b"\n")
        if batch := [line for line in enumerate(lines, number) if line[1].strip()]:
            yield batch
        number += len(lines)
        if len(rest) > _MAX_LINE_BYTES:
            raise InputError(f"Line {number} has more than {_MAX_LINE_BYTES} bytes. Give a row in each line.")
    if rest.strip():
        yield [(number, rest)]


def _decode(line: Line) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line[1], type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"It must be a JSON object of feature values ({error}).") from None


if __name__ == "__main__":
    sys.exit(main())
