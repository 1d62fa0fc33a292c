"""Files that somebody changed, in every way that could make a service run what was never checked."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from wine_assets.errors import ArtifactError, WineAssetsError
from wine_assets.files import sha256_of_bytes
from wine_assets.inference import ModelRepository, Predictor
from wine_assets_tests.support.published_models import Publishable

FLIPS = 1_000
SEED = 20_240_229


def _version(repository: ModelRepository, number: int = 1) -> Path:
    return repository.folder / "versions" / str(number)


def test_every_flipped_byte_of_model_or_manifest_is_found(released: ModelRepository) -> None:
    generator = np.random.default_rng(SEED)
    files = [_version(released) / "model.onnx", _version(released) / "manifest.json"]
    contents = {path: path.read_bytes() for path in files}
    refused = 0
    for number in range(FLIPS):
        path = files[number % 2]
        damaged = bytearray(contents[path])
        damaged[generator.integers(len(damaged))] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        for load in (Predictor.load, lambda folder: ModelRepository(folder).read()):
            with pytest.raises(ArtifactError, match=r"\.$"):
                load(released.folder)
        refused += 1
        path.write_bytes(contents[path])
    assert refused == FLIPS
    assert Predictor.load(released.folder).verified


def test_every_damaged_pointer_is_refused_or_says_the_same(released: ModelRepository) -> None:
    """A flipped byte can change who moved the pointer and when, and never what is served."""
    pointer = released.folder / "champion"
    whole, model = pointer.read_bytes(), released.read().model
    for place in range(len(whole)):
        pointer.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read = released.read()
        except WineAssetsError:
            continue
        assert (read.model, read.version) == (model, 1)


def test_damaged_log_does_not_hide_the_champion(released: ModelRepository, second: Publishable) -> None:
    """A damaged log is rejected with a sentence, and the champion can still be read."""
    second.release(released)
    log = released.folder / "champion.log"
    whole, model, said = log.read_bytes(), released.read().model, set()
    for place in range(0, len(whole), 2):
        log.write_bytes(whole[:place] + bytes([whole[place] ^ 1 + place % 128]) + whole[place + 1 :])
        assert released.read().model == model
        for use in (released.history, lambda: released.read(1)):
            try:
                use()
            except ArtifactError as error:
                said.add(str(error)[-1])
    assert said == {"."}


def _swapped(first: Path, second: Path) -> None:
    for name in ("model.onnx", "manifest.json"):
        one, other = (first / name).read_bytes(), (second / name).read_bytes()
        (first / name).write_bytes(other)
        (second / name).write_bytes(one)


def _linked(version: Path, other: Path) -> None:
    (version / "model.onnx").unlink()
    (version / "model.onnx").symlink_to(other / "model.onnx")


def _made_a_folder(version: Path, _: Path) -> None:
    (version / "model.onnx").unlink()
    (version / "model.onnx").mkdir()


TAMPERINGS: dict[str, Callable[[Path, Path], object]] = {
    "versions that were exchanged": _swapped,
    "the model of another version": lambda v, o: shutil.copy(o / "model.onnx", v / "model.onnx"),
    "the manifest of another version": lambda v, o: shutil.copy(o / "manifest.json", v / "manifest.json"),
    "a link to another model": _linked,
    "an empty model": lambda v, _: (v / "model.onnx").write_bytes(b""),
    "an empty manifest": lambda v, _: (v / "manifest.json").write_bytes(b""),
    "a manifest cut short": lambda v, _: (v / "manifest.json").write_bytes((v / "manifest.json").read_bytes()[:-1]),
    "a manifest with a key twice": lambda v, _: (v / "manifest.json").write_bytes(
        b'{"schema_version": 1,' + (v / "manifest.json").read_bytes()[1:]
    ),
    "a hundred megabytes of junk": lambda v, _: (v / "model.onnx").write_bytes(bytes(100_000_000)),
    "a model cut short": lambda v, _: (v / "model.onnx").write_bytes((v / "model.onnx").read_bytes()[:-1]),
    "a folder in place of a model": _made_a_folder,
}


EDITED: dict[str, Callable[[dict[str, Any]], object]] = {
    "other features": lambda content: content["features"].reverse(),
    "a feature less": lambda content: content["features"].pop(),
    "other classes": lambda content: content.update(classes=[0, 2]),
    "other answers to its samples": lambda content: content["samples"].update(
        labels=[1 - label for label in content["samples"]["labels"]]
    ),
    "the checksum of another model": lambda content: content.update(model_sha256="0" * 64),
}


@pytest.mark.parametrize("is_vouched_for", [False, True], ids=["alone", "and the pointer with it"])
@pytest.mark.parametrize("kind", EDITED)
def test_rewritten_manifest_is_rejected(
    released: ModelRepository,
    kind: str,
    is_vouched_for: bool,  # noqa: FBT001 - a case
) -> None:
    """A changed manifest is rejected, even if the pointer was changed to match it.

    What a model is must be what it does, whoever vouches for it.
    """
    path, pointer = _version(released) / "manifest.json", released.folder / "champion"
    manifest = json.loads(path.read_bytes())
    EDITED[kind](manifest["content"])
    edited = json.dumps(manifest).encode()
    before = sha256_of_bytes(path.read_bytes())
    path.write_bytes(edited)
    if is_vouched_for:
        pointer.write_bytes(pointer.read_bytes().replace(before.encode(), sha256_of_bytes(edited).encode()))
    with pytest.raises(ArtifactError, match=r"\.$"):
        Predictor.load(released.folder)


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_what_was_tampered_with_is_refused_in_a_sentence(
    released: ModelRepository, second: Publishable, kind: str
) -> None:
    second.publish(released)
    TAMPERINGS[kind](_version(released), _version(released, 2))
    with pytest.raises(ArtifactError, match=r"\.$"):
        Predictor.load(released.folder)
    assert released.champion() is not None


def _with_external_weights(model: bytes, location: str) -> bytes:
    """Return the model with its first weights in a file outside of it."""
    loaded = onnx.load_from_string(model)
    tensor = loaded.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return bytes(loaded.SerializeToString())


@pytest.mark.parametrize("kind", ["beside it", "above it", "absolute", "a symbolic link", "a hard link", "in and out"])
def test_external_weights_are_rejected(
    released: ModelRepository, first: Publishable, tmp_path: Path, kind: str
) -> None:
    """A model with external weights is rejected, wherever they are.

    Even where the manifest vouches for the model that refers to them.
    """
    weights = numpy_helper.to_array(onnx.load_from_string(first.model).graph.initializer[0]).tobytes()
    folder, secret = _version(released), tmp_path / "weights.bin"
    secret.write_bytes(weights)
    (folder / "sub").mkdir()
    if kind == "a symbolic link":
        (folder / "weights.bin").symlink_to(secret)
    elif kind == "a hard link":
        os.link(secret, folder / "weights.bin")
    else:
        (folder / "weights.bin").write_bytes(weights)
    places = {"above it": "../../../../weights.bin", "absolute": str(secret), "in and out": "sub/../weights.bin"}
    model = _with_external_weights(first.model, places.get(kind, "weights.bin"))
    (folder / "model.onnx").write_bytes(model)
    with pytest.raises(ArtifactError, match=r"onnxruntime can't load the model"):
        Predictor.load(folder / "model.onnx", expected_sha256=sha256_of_bytes(model))
    content = msgspec.structs.replace(first.content, model_sha256=sha256_of_bytes(model), model_bytes=len(model))
    with pytest.raises(ArtifactError, match=r"onnxruntime can't load the model"):
        Publishable(model, content).publish(released)
    assert released.versions() == [1]


def _edited(model: bytes, edit: Callable[[onnx.ModelProto], object]) -> bytes:
    loaded = onnx.load_from_string(model)
    edit(loaded)
    return bytes(loaded.SerializeToString())


def _nan_weights(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values[:] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _with_metadata(key: str, value: str) -> Callable[[onnx.ModelProto], object]:
    def edit(model: onnx.ModelProto) -> None:
        next(entry for entry in model.metadata_props if entry.key == key).value = value

    return edit


EDITS: dict[str, Callable[[onnx.ModelProto], object]] = {
    "weights that are no numbers": _nan_weights,
    "an input of another width": lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 12),
    "an input of another name": lambda m: setattr(m.graph.input[0], "name", "x"),
    "an operator that nobody knows": lambda m: setattr(m.graph.node[0], "op_type", "Surprise"),
    "other classes": _with_metadata("classes", "[0, 2]"),
    "other features": _with_metadata("features", '["a", "b"]'),
    "features that are no list": _with_metadata("features", "alcohol"),
    "no metadata": lambda m: m.ClearField("metadata_props"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_foreign_model_is_not_published(repository: ModelRepository, first: Publishable, kind: str) -> None:
    """A model of another project is not published, even with a matching checksum."""
    model = _edited(first.model, EDITS[kind])
    content = msgspec.structs.replace(first.content, model_sha256=sha256_of_bytes(model), model_bytes=len(model))
    with pytest.raises(ArtifactError, match=r"\.$"):
        Publishable(model, content).publish(repository)
    assert repository.versions() == []
