import subprocess
import sys

import pytest

from wine_assets import inference

HEAVY = ["pandas", "pyarrow", "sklearn", "scipy", "onnx", "dagster", "pydantic", "matplotlib", "sqlalchemy", "typer"]


def test_the_public_names_are_there_and_no_others_are_promised() -> None:
    assert sorted(inference.__all__) == inference.__all__
    assert {name for name in inference.__all__ if not hasattr(inference, name)} == set()


@pytest.mark.parametrize("module", ["wine_assets.inference", "wine_assets.inference.__main__"])
def test_a_service_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*({{*{HEAVY}}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
