"""A client of the inference server: the standard library, and nothing to install.

    python examples/client.py http://127.0.0.1:8080 < rows.jsonl

Reads one JSON object of feature values a line, asks for all of them in one request of the Open Inference Protocol, and
prints a line of label and probabilities for each.
"""

import json
import sys
import urllib.error
import urllib.request
from typing import Any


def ask(url: str, body: Any = None) -> Any:
    """Return the JSON answer to a GET, or to a POST of `body`; end with the server's own sentence when it refuses."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310 - the user names the server
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(json.load(error)["error"])
    except urllib.error.URLError as error:
        sys.exit(f"{url} can't be reached ({error.reason}). Start the server with: make serve.")


def main() -> None:
    """Ask the server for the rows of standard input."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the script and the address
        sys.exit(f"usage: {sys.argv[0]} http://HOST:PORT < rows.jsonl")
    server = sys.argv[1].rstrip("/")
    rows = [json.loads(line) for line in sys.stdin if line.strip()]
    features = ask(f"{server}/v2/models/wine")["parameters"]["features"]
    data = [[row[name] for name in features] for row in rows]
    tensor = {"name": "features", "datatype": "FP32", "shape": [len(rows), len(features)], "data": data}
    answer = ask(f"{server}/v2/models/wine/infer", {"inputs": [tensor]})
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    width = len(outputs["probabilities"]) // len(rows)
    for at, label in enumerate(outputs["label"]):
        probabilities = outputs["probabilities"][at * width : (at + 1) * width]
        print(json.dumps({"label": label, "probabilities": probabilities, "version": answer["model_version"]}))


if __name__ == "__main__":
    main()
