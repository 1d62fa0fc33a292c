"""The sensor that reads data files as they arrive in a watched folder."""

import json
import logging
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from wine_assets import settings
from wine_assets.files import sha256_of_file
from wine_assets.orchestration.configs import DataConfig, FileSourceConfig, launch_config
from wine_assets.orchestration.jobs import data_job

SUFFIXES = (".csv", ".data", ".gz", ".parquet")
SETTLED_S = 2.0
"""How long a file must not have changed before it counts as whole."""
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_KEY_DIGITS = 16

Stamp = list[int]
"""The size of a file, and when it was changed: its content, and anything of it (mtime and ctime, in nanoseconds)."""
Seen = dict[str, tuple[Stamp, str]]
"""The stamp and the SHA-256 of each file in the folder, by its name."""


@dataclass(frozen=True)
class Arrival:
    """A file with new content."""

    path: Path
    stamp: Stamp
    sha256: str

    def request(self) -> dg.RunRequest:
        """Return the run that reads it.

        The key holds the content and when it came to be, so that a file that goes back to what it was is new work,
        while the same evaluation made twice, or made with an old cursor or none, is not.
        """
        return dg.RunRequest(
            run_key=f"{self.path.name}:{self.sha256[:_KEY_DIGITS]}:{self.stamp[-1]}",
            run_config=launch_config(DataConfig(source=FileSourceConfig(path=str(self.path)))),
            tags={"wine_assets/file": self.path.name},
        )


@dg.sensor(
    name="incoming_sensor",
    job=data_job,
    minimum_interval_seconds=15,
    description="Starts data_job for each new or changed file in the watched folder, once for each content, "
    "one after the other.",
)
def incoming_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Request a run for the oldest file whose content is new, when no run of data_job is under way.

    Files that come together are thus read in the order in which they came, and the newest is the one that stays.
    """
    if _is_reading(context.instance):
        return dg.SkipReason("A run of data_job is under way; the next file waits for it.")
    files = _listed(watched_folder())
    before: Seen = json.loads(context.cursor) if context.cursor else {}
    seen = {path.name: before[path.name] for path in files if path.name in before}
    arrival = next(_arrivals(_settled(files), seen, context.log), None)
    requests = [arrival.request()] if arrival else []
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))


def _is_reading(instance: dg.DagsterInstance) -> bool:
    under_way = dg.RunsFilter(job_name=data_job.name, statuses=UNDER_WAY)
    return instance.get_runs_count(under_way) > 0


def watched_folder() -> Path:
    """Return the folder of WINE_ASSETS_WATCH, by default `incoming` in the project's home."""
    return Path(settings.optional(settings.WATCH_VARIABLE, str(settings.home().incoming))).absolute()


def _arrivals(settled: dict[Path, Stamp], seen: Seen, log: logging.Logger) -> Iterator[Arrival]:
    """Yield the files with other content than was seen, in order, and take note of all that were read."""
    for path, stamp in settled.items():
        known_stamp, known_sha256 = seen.get(path.name, (None, None))
        if stamp == known_stamp:
            continue
        try:
            sha256 = sha256_of_file(path)
        except OSError as error:
            log.warning("%s can't be read (%s); the next evaluation tries again.", path, error.strerror)
            continue
        seen[path.name] = (stamp, sha256)
        if sha256 != known_sha256:
            yield Arrival(path, stamp, sha256)


def _settled(files: list[Path]) -> dict[Path, Stamp]:
    """Return the stamps of the files that have not changed for a while, oldest first."""
    stamps = {path: stamp for path in files if (stamp := _settled_stamp(path))}
    return dict(sorted(stamps.items(), key=lambda settled: settled[1][-1]))


def _settled_stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:  # it may vanish at any time
        return None
    age_s = time.time() - max(status.st_mtime, status.st_ctime)
    if not stat.S_ISREG(status.st_mode) or age_s < SETTLED_S:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _listed(folder: Path) -> list[Path]:
    return [path for path in folder.glob("[!.]*") if path.suffix.lower() in SUFFIXES]
