"""A client of the inference server that needs only the standard library.

    python examples/client.py http://127.0.0.1:8080 < rows.jsonl
    python examples/client.py http://127.0.0.1:8080 --by-name < rows.jsonl

Each input line is a JSON object of feature values. The client sends a thousand of them at a time, and prints a line of
label, probabilities and version for each. It speaks the Open Inference Protocol, where a request is a tensor of
numbers. With `--by-name`, it uses the server's own route, where a request is the objects themselves.
"""

import argparse
import itertools
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

BATCH = 1000
TIMEOUT_S = 30
Rows = list[dict[str, Any]]
Predict = Callable[[Rows], Iterable[dict[str, Any]]]


def call(url: str, body: Any = None) -> Any:
    """Return the JSON answer to a GET, or to a POST of `body`; exit with the server's sentence if it refuses."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310 - the user names the server
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(reason(error))
    except OSError as error:
        sys.exit(f"{url} can't be reached ({getattr(error, 'reason', error)}). Start the server with: make serve.")


def reason(error: urllib.error.HTTPError) -> str:
    """Return the server's reason for a refusal; a proxy may have refused in its place."""
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answers {error.code} {error.reason}. Is it the inference server?"


def by_tensor(server: str, model: str) -> Predict:
    """Predict by the Open Inference Protocol: values are sent in the order of features that the server states."""
    features = call(f"{server}/v2/models/{model}")["parameters"]["features"]

    def predict(rows: Rows) -> Iterator[dict[str, Any]]:
        try:
            data = [[row[name] for name in features] for row in rows]
        except KeyError as missing:
            sys.exit(f"A row has no {missing}. The features are {', '.join(features)}.")
        tensor = {"name": "features", "datatype": "FP32", "shape": [len(rows), len(features)], "data": data}
        answer = call(f"{server}/v2/models/{model}/infer", {"inputs": [tensor]})
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        width = len(outputs["probabilities"]) // len(rows)
        for at, label in enumerate(outputs["label"]):
            probabilities = outputs["probabilities"][at * width : (at + 1) * width]
            yield {"label": label, "probabilities": probabilities, "version": answer["model_version"]}

    return predict


def by_name(server: str) -> Predict:
    """Predict by the server's own route."""

    def predict(rows: Rows) -> Iterator[dict[str, Any]]:
        for answer in call(f"{server}/predict", rows):
            probabilities = [*answer["probabilities"].values()]
            yield {"label": answer["label"], "probabilities": probabilities, "version": answer["model_version"]}

    return predict


def rows_of(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield a row from each line that isn't blank."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            sys.exit(f"Line {number} must be a JSON object of feature values ({error}).")
        if not isinstance(row, dict):
            sys.exit(f"Line {number} must be a JSON object of feature values, got {line.strip():.40}.")
        yield row


def main() -> None:
    """Predict the rows of standard input."""
    parser = argparse.ArgumentParser(description="Predict the rows of standard input by an inference server.")
    parser.add_argument("server", help="its address, such as http://127.0.0.1:8080")
    parser.add_argument("--model", default="wine", help="name of the served model; wine by default")
    parser.add_argument("--by-name", action="store_true", help="use the server's own route /predict")
    options = parser.parse_args()
    server = options.server.rstrip("/")
    predict = by_name(server) if options.by_name else by_tensor(server, options.model)
    rows = rows_of(sys.stdin)
    try:
        while batch := list(itertools.islice(rows, BATCH)):
            for answer in predict(batch):
                print(json.dumps(answer))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough; Python would write the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
