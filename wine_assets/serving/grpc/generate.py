"""`python -m wine_assets.serving.grpc.generate` generates the Python code of open_inference.proto."""

import sys
from importlib.resources import files
from pathlib import Path

PROTO = "open_inference.proto"
PACKAGE = "wine_assets/serving/grpc"


def generate(root: Path, out: Path) -> int:
    """Write `open_inference_pb2.py`, its types and `open_inference_pb2_grpc.py` below `out`; return protoc's status."""
    from grpc_tools import protoc

    includes = [f"-I{root}", f"-I{files('grpc_tools') / '_proto'}"]
    outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    status: int = protoc.main(["protoc", *includes, *outputs, f"{PACKAGE}/{PROTO}"])
    return status


if __name__ == "__main__":
    here = Path(__file__).parents[3]
    sys.exit(generate(here, here))
