"""`python -m wine_assets.inference MODEL < rows.jsonl`: a line of answers for each line of named values."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from wine_assets.errors import InputError, WineAssetsError
from wine_assets.inference.predictor import Predictor

_BATCH_LINES = 1000
FAILED, BAD_USAGE = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Answer standard input line by line on standard output; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        predictor = Predictor.load(
            options.model, version=options.version, expected_sha256=options.sha256, extras=options.extras
        )
        if not predictor.verified:
            sys.stderr.write("The model is unverified: no checksum from outside vouches for it (--sha256 gives one).\n")
        for answers in _answered(predictor, sys.stdin.buffer):
            sys.stdout.buffer.write(answers)
            sys.stdout.buffer.flush()
    except WineAssetsError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough; Python would complain at exit
    return 0


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
        "--extras", choices=("refuse", "ignore"), default="refuse", help="what is done with unknown names"
    )
    return parser


def _answered(predictor: Predictor, lines: Iterable[bytes]) -> Iterator[bytes]:
    for first, batch in _batches(lines):
        rows = [_values(line, first + at) for at, line in enumerate(batch)]
        try:
            labels, probabilities = predictor.predict_both(rows)
        except InputError as error:
            raise InputError(f"Lines {first} to {first + len(batch) - 1} can't be predicted. {error}") from None
        yield b"".join(
            msgspec.json.encode({"label": label, "probabilities": row}) + b"\n"
            for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
        )


def _batches(lines: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines that aren't blank with the number of the first; a terminal's and a pipe's come as they are."""
    batch: list[bytes] = []
    first = 1
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        first = number if not batch else first
        batch.append(line)
        if len(batch) == _BATCH_LINES:
            yield first, batch
            batch = []
    if batch:
        yield first, batch


def _values(line: bytes, number: int) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(f"Line {number} must be a JSON object of feature values ({error}).") from None


if __name__ == "__main__":
    sys.exit(main())
