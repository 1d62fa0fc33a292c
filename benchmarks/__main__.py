"""All published figures in one table: runs every script beside this one, one after another.

Writes nothing but in `.wine_assets/bench` and temporary folders. A script that fails is named, and makes the exit
status 2; a bound that is missed makes it 1, with `--strict`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import measure
from http_load import require_wrk
from measure import Figure

HERE = Path(__file__).resolve().parent
NAMES = (
    *("cold_run", "peak_memory", "warm_training_workflow", "ten_million_rows"),
    *("onnx_batch", "one_row", "micro_batching", "first_prediction", "http_serving", "grpc_serving"),
    *("search", "long_search"),
)


def main() -> None:
    """Measure everything, print what was measured, and then fail if a script did."""
    arguments = measure.command_line(None)
    require_wrk()  # before the first measurement, not half an hour into the run
    measured = {name: _measured(name, arguments) for name in NAMES}
    failed = [name for name, figures in measured.items() if figures is None]
    if failed:
        print(f"Not measured: {', '.join(failed)}", file=sys.stderr)
    measure.finish(
        [figure for figures in measured.values() for figure in figures or []], arguments, failed=bool(failed)
    )


def _measured(name: str, arguments: argparse.Namespace) -> list[Figure] | None:
    """Run one script by itself; its messages go straight to the terminal."""
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    asked = ["--runs", str(arguments.runs)] if arguments.runs else []
    argv: list[str | Path] = [sys.executable, HERE / f"{name}.py", "--json", *asked]
    ended = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    if ended.returncode:
        return None
    return [Figure.from_json(figure) for figure in json.loads(ended.stdout)["figures"]]


if __name__ == "__main__":
    main()
