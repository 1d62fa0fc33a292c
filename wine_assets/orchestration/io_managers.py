"""Where assets lie: one immutable file a data version, in formats that hold data and no code."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from wine_assets import settings
from wine_assets.errors import ArtifactError
from wine_assets.files import atomic_path, atomic_write, sha256_of_bytes, sha256_of_file, sweep_temporaries
from wine_assets.orchestration import data_versions

STORED = "stored"
"""The key of the input manager by which a step gets files to read itself."""
KEPT_VERSIONS = 3
"""How many versions of an asset stay on disk: the recorded one, and the ones before it."""
KEPT_REPORTS = 20
"""How many reports stay on disk; materializations of the past link to them."""
SPARED_S = 3600.0
"""How old a file is at least that is removed: a run under way may be about to read it."""
ORPHAN_AGE_S = 3600.0
"""After how long a temporary file counts as left behind by a killed process."""


@dataclass(frozen=True)
class Format:
    """How the values of one kind of asset are written and read."""

    suffix: str
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]
    old_suffix: str = ""
    """That of files which earlier releases wrote, and which are still read."""


def _write_frame(frame: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow")


def _read_frame(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path, engine="pyarrow")


def _write_model(model: Any, path: Path) -> None:
    from wine_assets.models.formats import model_file

    model_file.save(model, path)


def _read_model(path: Path) -> Any:
    from wine_assets.models.families import legacy_skops
    from wine_assets.models.formats import model_file

    return legacy_skops.load(path) if path.suffix == legacy_skops.SUFFIX else model_file.load(path)


def _read_onnx(path: Path) -> bytes:
    from wine_assets.inference import Predictor

    content = path.read_bytes()
    try:
        Predictor(content)
    except ArtifactError as error:
        raise ArtifactError(f"{path} can't be read as a model: {error} Materialize wine_model_onnx again.") from error
    return content


def _write_json(value: Any, path: Path) -> None:
    atomic_write(path, json.dumps(value, indent=2, sort_keys=True).encode())


FORMATS = {
    "frame": Format(".parquet", _write_frame, _read_frame),
    "estimator": Format(".zip", _write_model, _read_model, old_suffix=".skops"),
    "model": Format(".onnx", lambda content, path: atomic_write(path, content), _read_onnx),
    "report": Format(".json", _write_json, lambda path: json.loads(path.read_bytes())),
}


def artifact_path(asset: str, version: str, format_name: str) -> Path:
    """Return where the given version of an asset lies."""
    return settings.home().data / asset / f"{version}{FORMATS[format_name].suffix}"


@dataclass(frozen=True)
class Stored:
    """A version of an asset on disk; a step reads it itself, within its limits."""

    asset: str
    version: str

    def read(self) -> Any:
        """Return the value; raise ArtifactError when its file is missing or damaged."""
        for format_name, stored_format in FORMATS.items():
            path = artifact_path(self.asset, self.version, format_name)
            for candidate in (path, path.with_suffix(stored_format.old_suffix or path.suffix)):
                if candidate.exists():
                    return _read(candidate, format_name, self.asset)
        missing = settings.home().data / self.asset / self.version
        raise ArtifactError(f"There is no file {missing}. Materialize {self.asset} again.")


def store(value: Any, path: Path, format_name: str) -> dict[str, Any]:
    """Write a value and return, as metadata, where it lies, how large it is and the SHA-256 of its bytes."""
    FORMATS[format_name].write(value, path)
    return {
        "path": dg.MetadataValue.path(str(path)),
        "bytes": path.stat().st_size,
        "sha256": sha256_of_file(path),
    }


def is_whole(path: Path, metadata: Mapping[str, dg.MetadataValue[Any]]) -> bool:
    """Tell whether an asset's file is as it was written, and all else there that its materialization names."""
    named = [Path(value.value) for value in metadata.values() if isinstance(value, dg.PathMetadataValue)]
    recorded = metadata.get("sha256")
    if recorded is None or not path.is_file() or not all(_in_this_home(other).exists() for other in named):
        return False
    return bool(recorded.value == sha256_of_file(path))


def _in_this_home(recorded: Path) -> Path:
    """Return where a recorded path is now, in a home that may have been moved since."""
    home = settings.home()
    for folder in (home.data, home.reports, home.models):
        if folder.name in recorded.parts:
            last = len(recorded.parts) - recorded.parts[::-1].index(folder.name)
            return folder.joinpath(*recorded.parts[last:])
    return recorded


@dg.input_manager(description="Hands a step the file that it consumes, to be read within the step's limits.")
def stored(context: dg.InputContext) -> Stored:
    """Return the version of an asset that this run consumes."""
    return Stored(context.asset_key.to_user_string(), _consumed(context))


def write_report(page: str) -> Path:
    """Write a page of HTML under a name made of its content, and return where it lies."""
    content = page.encode()
    path = settings.home().reports / f"{sha256_of_bytes(content)[:16]}.html"
    atomic_write(path, content)
    _prune(path.parent, path.suffix, KEPT_REPORTS, {path.stem})
    return path


def read_report(name: str) -> bytes | None:
    """Return the page that `write_report` wrote under this name, None where it is gone."""
    try:
        return (settings.home().reports / name).read_bytes()
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class ArtifactIOManager(dg.IOManager):
    """Keeps each data version of an asset in a file of its own, and reads the one that a run consumes.

    A file is written whole or not at all, and never changed afterwards: a run that is killed leaves what Dagster
    has on record, and the files that the record names, as they were. It takes no config, so that a launch form asks
    for nothing that only the code can know.
    """

    format_name: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Tidy up behind the value that the step stored itself, within its limits, under the path in its metadata."""
        path = Path(context.output_metadata["path"].value)
        instance = context.step_context.instance
        data_versions.forget(context.run_id, context.asset_key)
        if Path(instance.root_directory) == settings.home().dagster:  # another instance has other files on record
            _prune(path.parent, "", KEPT_VERSIONS, {path.stem, _recorded(instance, context.asset_key)})

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the version that this run consumes; raise ArtifactError when its file is missing or damaged."""
        return Stored(context.asset_key.to_user_string(), _consumed(context)).read()


def _recorded(instance: dg.DagsterInstance, key: dg.AssetKey) -> str:
    record = data_versions.latest(instance, key)
    return data_versions.recorded(record) if record else ""


def _consumed(context: dg.InputContext) -> str:
    return data_versions.consumed(context.instance, _run_id(context), context.asset_key)


def _run_id(context: dg.InputContext) -> str:
    """Return the run that reads, or "" where an asset's value is loaded outside of any."""
    try:
        return context.step_context.run_id
    except dg.DagsterInvariantViolationError:
        return ""


def _read(path: Path, format_name: str, asset: str) -> Any:
    try:
        return FORMATS[format_name].read(path)
    except ArtifactError:
        raise
    except FileNotFoundError as error:
        raise ArtifactError(f"There is no {path}. Materialize {asset} again.") from error
    except Exception as error:
        raise ArtifactError(f"{path} can't be read: {error}. Materialize {asset} again.") from error


def _prune(folder: Path, suffix: str, kept: int, needed: set[str]) -> None:
    """Remove all but the newest `kept` files of a folder, never a young one nor one whose name is `needed`."""
    newest_first = sorted(folder.glob(f"[!.]*{suffix}"), key=_modified, reverse=True)
    for path in newest_first[kept:]:
        if path.stem not in needed and time.time() - _modified(path) >= SPARED_S:
            path.unlink(missing_ok=True)
    sweep_temporaries(folder, older_than_s=ORPHAN_AGE_S)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another run has just removed it
        return 0.0
