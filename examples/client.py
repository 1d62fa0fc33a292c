"""A client of the inference server: the standard library, and nothing to install.

    python examples/client.py http://127.0.0.1:8080 < rows.jsonl
    python examples/client.py http://127.0.0.1:8080 --by-name < rows.jsonl

Reads one JSON object of feature values a line, asks for a thousand of them at a time, and prints a line of label,
probabilities and version for each. It speaks the Open Inference Protocol, in which a request is a tensor of numbers;
or, with `--by-name`, the server's own way, in which it is the objects themselves.
"""

import argparse
import itertools
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

BATCH = 1000
TIMEOUT_S = 30
Rows = list[dict[str, Any]]
Ask = Callable[[Rows], Iterable[dict[str, Any]]]


def call(url: str, body: Any = None) -> Any:
    """Return the JSON answer to a GET, or to a POST of `body`; end with the server's own sentence when it refuses."""
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
    """Return what the server says of a refusal; what stands between may have refused in its place."""
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answers {error.code} {error.reason}. Is it the inference server?"


def by_tensor(server: str, model: str) -> Ask:
    """Ask by the Open Inference Protocol: the server says the features, and is sent their values in that order."""
    features = call(f"{server}/v2/models/{model}")["parameters"]["features"]

    def ask(rows: Rows) -> Iterator[dict[str, Any]]:
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

    return ask


def by_name(server: str) -> Ask:
    """Ask in the server's own way."""

    def ask(rows: Rows) -> Iterator[dict[str, Any]]:
        for answer in call(f"{server}/predict", rows):
            probabilities = [*answer["probabilities"].values()]
            yield {"label": answer["label"], "probabilities": probabilities, "version": answer["model_version"]}

    return ask


def rows_of(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Read a row from each line that isn't blank."""
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
    """Ask the server for the rows of standard input."""
    parser = argparse.ArgumentParser(description="Ask an inference server for the rows of standard input.")
    parser.add_argument("server", help="its address, such as http://127.0.0.1:8080")
    parser.add_argument("--model", default="wine", help="the name that the model is served by; wine by default")
    parser.add_argument("--by-name", action="store_true", help="ask in the server's own way")
    options = parser.parse_args()
    server = options.server.rstrip("/")
    ask = by_name(server) if options.by_name else by_tensor(server, options.model)
    rows = rows_of(sys.stdin)
    while batch := list(itertools.islice(rows, BATCH)):
        for answer in ask(batch):
            print(json.dumps(answer))


if __name__ == "__main__":
    main()
