"""The sensor that reads data files as they arrive in a watched folder."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.files import sha256_of_file
from wine_assets.orchestration.configs import DataConfig, FileSourceConfig, launch_config
from wine_assets.orchestration.jobs import data_job

SUFFIXES = (".csv", ".data", ".gz", ".parquet")
SETTLED_S = 2.0
"""How long a file must not have changed before it counts as whole."""
_KEY_DIGITS = 16

Seen = dict[str, dict[str, Any]]
"""What is known of each file, by its name: its stamp (size and time), its SHA-256, and how often it had which."""


@dg.sensor(
    name="incoming_sensor",
    job=data_job,
    minimum_interval_seconds=15,
    description="Starts data_job for each new or changed file in the watched folder, once for each content.",
)
def incoming_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Request one run for each file whose content is new since the last evaluation.

    The run key holds the file's name, its content's hash and how often the file has had that content: a file that
    goes back to what it was is new work, while the same evaluation made twice, or made without a cursor, is not.
    """
    folder = watched_folder()
    seen: Seen = json.loads(context.cursor) if context.cursor else {}
    requests = [_request(path, seen) for path in _changed(folder, seen)]
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))


def watched_folder() -> Path:
    """Return the folder of WINE_ASSETS_WATCH, by default `incoming` in the project's home."""
    return Path(settings.optional(settings.WATCH_VARIABLE, str(settings.home().incoming))).absolute()


def _changed(folder: Path, seen: Seen) -> Iterator[Path]:
    """Yield the files that have settled with other content than was seen, oldest first, and take note of them."""
    for path, stamp in sorted(_settled(folder), key=lambda found: found[0].stat().st_mtime_ns):
        known = seen.setdefault(path.name, {"stamp": None, "sha256": None, "attempts": {}})
        if known["stamp"] == stamp:
            continue
        sha256 = sha256_of_file(path)
        known["stamp"] = stamp
        if sha256 != known["sha256"]:
            known["sha256"] = sha256
            known["attempts"][sha256] = known["attempts"].get(sha256, 0) + 1
            yield path


def _settled(folder: Path) -> Iterator[tuple[Path, list[int]]]:
    for path in folder.glob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            status = path.stat()
            if time.time() - status.st_mtime >= SETTLED_S:
                yield path, [status.st_size, status.st_mtime_ns]


def _request(path: Path, seen: Seen) -> dg.RunRequest:
    known = seen[path.name]
    attempt = known["attempts"][known["sha256"]]
    return dg.RunRequest(
        run_key=f"{path.name}:{known['sha256'][:_KEY_DIGITS]}:{attempt}",
        run_config=launch_config(DataConfig(source=FileSourceConfig(path=str(path)))),
        tags={"wine_assets/file": path.name},
    )
