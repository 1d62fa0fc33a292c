import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wine_assets.compute import gpus
from wine_assets.compute.limits import enforce
from wine_assets.compute.request import ComputeRequest
from wine_assets.errors import ComputeRequestError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str | None], None]:
    """Give the machine GPUs, and the user a CUDA_VISIBLE_DEVICES."""

    def set_up(present: int, visible: str | None) -> None:
        monkeypatch.setattr(gpus, "_present", lambda: present)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return set_up


@pytest.mark.parametrize(
    ("present", "visible", "usable"),
    [(0, None, 0), (0, "0,1", 0), (2, None, 2), (2, "1", 1), (2, "", 0), (2, "-1", 0), (4, "0,-1,2", 1), (1, "0,1", 1)],
)
def test_a_gpu_that_is_not_there_is_refused(
    machine: Callable[[int, str | None], None], present: int, visible: str | None, usable: int
) -> None:
    machine(present, visible)
    if usable:
        with enforce(ComputeRequest(gpu=usable), "step"):
            pass
    asked = usable + 1
    expected = rf"step asked for {asked} GPUs? and {usable or 'none'} can be used here .* lower `gpu`"
    with pytest.raises(ComputeRequestError, match=expected), enforce(ComputeRequest(gpu=asked), "step"):
        pytest.fail("the step ran")


@pytest.mark.process
def test_the_driver_s_tool_is_asked_where_there_are_no_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path / "dev")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpus._present() == 1
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert gpus._present() == 0


def test_gpus_are_counted_by_their_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    assert gpus._present() == 2
