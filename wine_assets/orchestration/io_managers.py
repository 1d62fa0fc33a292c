"""The IO managers of assets: one immutable file a data version, in formats that hold data and no code."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from wine_assets import settings
from wine_assets.errors import ArtifactError
from wine_assets.files import atomic_path, atomic_write, sha256_of_file
from wine_assets.orchestration import data_versions, enforcement, retention

if TYPE_CHECKING:
    from upath import UPath

# Aliases of Any, because definitions load without pandas and scikit-learn.
Frame = Any
"""The value of the format `frame`: a pandas frame."""
Model = Any
"""The value of the format `estimator`: a FittedModel."""
Report = Any
"""The value of the format `report`: a mapping of plain values."""


CHUNKS = "io_manager"
"""The key of the IO manager by which the steps of a search hand each other chunks: Dagster's own default."""


@dataclass(frozen=True)
class Format:
    """How the values of one kind of asset are written and read."""

    suffix: str
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]
    old_suffix: str = ""
    """The suffix of files that earlier releases wrote, and that can still be read."""


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


class ArtifactIOManager(dg.UPathIOManager):
    """Keeps each data version of an asset in a file of its own, and reads the version that a run consumes.

    A file is written whole or not at all, and never changes afterwards. So a run that is killed leaves what Dagster
    has on record, and the files that the records name, as they were. Reading and writing count toward the compute
    request of the step.
    """

    def __init__(self, artifact_format: Format, base_path: "UPath") -> None:
        super().__init__(base_path)
        self.extension = artifact_format.suffix
        self._format = artifact_format

    def get_asset_relative_path(self, context: dg.InputContext | dg.OutputContext) -> "UPath":
        """Return `<asset>/<data version>`: the version that the step makes, or the one that its run consumes."""
        from upath import UPath

        if isinstance(context, dg.OutputContext):
            version = context.step_context.get_data_version(context.asset_key).value
        else:
            step = _step(context)
            version = data_versions.consumed(context.instance, step.run_id if step else "", context.asset_key)
        return UPath(context.asset_key.to_user_string(), version)

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: Any) -> None:
        """Write the value; record the size and the SHA-256 of its file, and what the step has used."""
        step = context.step_context
        with enforcement.enforce(step):
            self._format.write(obj, path)
            stored = {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        context.add_output_metadata({**stored, **enforcement.usage_metadata(step)})
        data_versions.forget(context.run_id, context.asset_key)
        if Path(step.instance.root_directory) == settings.home().dagster:  # another instance has other files on record
            record = data_versions.latest(step.instance, context.asset_key)
            needed = {path.stem, data_versions.recorded(record) if record else ""}
            retention.prune(path.parent, "", retention.KEPT_VERSIONS, needed)

    def load_from_path(self, context: dg.InputContext, path: Any) -> Any:
        """Read a version; raise dg.Failure, or ArtifactError outside of a run, when its file is missing or damaged."""
        step, asset = _step(context), context.asset_key.to_user_string()
        if self._format.old_suffix and not path.exists():
            old = path.with_suffix(self._format.old_suffix)
            path = old if old.exists() else path
        if step is None:
            return _read(self._format, path, asset)
        with enforcement.enforce(step):
            return _read(self._format, path, asset)


class ChunkIOManager(dg.UPathIOManager):
    """Keeps what the steps of a search hand each other as JSON, in a folder for each run."""

    extension = ".json"

    def get_op_output_relative_path(self, context: dg.InputContext | dg.OutputContext) -> "UPath":
        """Return `<run>/<step>-<output>`."""
        from upath import UPath

        run_id, *names = context.get_identifier()
        return UPath(run_id, "-".join(names))

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: Any) -> None:
        """Write the values, and remove what runs of the past have left."""
        atomic_write(path, json.dumps(obj).encode())
        retention.prune_runs(path.parents[1], context.step_context.instance)

    def load_from_path(self, context: dg.InputContext, path: Any) -> Any:
        """Read the values; raise dg.Failure when they are gone."""
        with enforcement.enforce(context.step_context):
            try:
                return json.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                raise ArtifactError(f"{path} can't be read: {error}. Start the search again.") from error


def io_manager(artifact_format: Format) -> dg.IOManagerDefinition:
    """Return the IO manager of a format, whose files lie in the project's home when a run begins.

    It takes no config, so that a launch form asks for nothing that only the code can know.
    """

    @dg.io_manager
    def build(_: dg.InitResourceContext) -> ArtifactIOManager:
        from upath import UPath

        return ArtifactIOManager(artifact_format, UPath(settings.home().data))

    return build


@dg.io_manager
def chunk_io_manager(_: dg.InitResourceContext) -> ChunkIOManager:
    """Return the IO manager of chunks, whose files lie in the project's home when a run begins."""
    from upath import UPath

    return ChunkIOManager(UPath(settings.home().searches / "runs"))


def _step(context: dg.InputContext) -> Any:
    """Return the context of the step that reads, or None where an asset is loaded outside of any run."""
    try:
        return context.step_context
    except dg.DagsterInvariantViolationError:
        return None


def _read(artifact_format: Format, path: Path, asset: str) -> Any:
    try:
        return artifact_format.read(path)
    except ArtifactError:
        raise
    except FileNotFoundError as error:
        raise ArtifactError(f"There is no {path}. Materialize {asset} again.") from error
    except Exception as error:
        raise ArtifactError(f"{path} can't be read: {error}. Materialize {asset} again.") from error
