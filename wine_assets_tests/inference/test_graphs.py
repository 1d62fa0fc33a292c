import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from wine_assets.errors import ArtifactError
from wine_assets.inference.graphs import with_output


def _model(names: list[str], document: str = "") -> bytes:
    """Return a model whose outputs are its input, each multiplied by its place."""
    nodes = [helper.make_node("Mul", ["x", f"by {name}"], [name]) for name in names]
    factors = [helper.make_tensor(f"by {name}", TensorProto.FLOAT, [1], [place]) for place, name in enumerate(names)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in names]
    graph = helper.make_graph(nodes, "g", [x], outputs, factors, doc_string=document)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(made.SerializeToString(deterministic=True))


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=200), min_size=1, unique=True),
    data=st.data(),
    document=st.text(max_size=300),
)
def test_one_output_is_left_and_all_else_stays_as_it_was(names: list[str], data: st.DataObject, document: str) -> None:
    kept, model = data.draw(st.sampled_from(names)), _model(names, document)
    reduced = onnx.load_from_string(with_output(model, kept))
    expected = onnx.load_from_string(model)
    outputs = [output for output in expected.graph.output if output.name == kept]
    del expected.graph.output[:]
    expected.graph.output.extend(outputs)
    assert reduced == expected


def test_reduced_model_has_the_same_bits() -> None:
    """A model that is reduced to one output computes the same bits."""
    import onnxruntime

    model, x = _model(["one", "two", "three"]), np.arange(5, dtype=np.float32)
    whole, reduced = (onnxruntime.InferenceSession(content) for content in (model, with_output(model, "three")))
    assert [output.name for output in reduced.get_outputs()] == ["three"]
    np.testing.assert_array_equal(reduced.run(None, {"x": x})[0], whole.run(["three"], {"x": x})[0])


def test_an_output_that_is_not_there_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"The model has no output `label`\."):
        with_output(_model(["one"]), "label")


@pytest.mark.parametrize("end", [1, 2, 10, 40, -1])
def test_a_model_that_is_cut_short_is_refused(end: int) -> None:
    with pytest.raises(ArtifactError):
        with_output(_model(["one", "two"])[:end], "one")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_bytes_are_no_model_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        with_output(content, "one")
