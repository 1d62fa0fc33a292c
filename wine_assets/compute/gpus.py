"""The GPUs that a CUDA program started here may use."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from wine_assets.errors import ComputeRequestError

_DEVICES = Path("/dev")


def check(asked: int, step: str) -> None:
    """Raise ComputeRequestError where there are fewer NVIDIA GPUs than `asked`."""
    if not asked:
        return
    found = _visible()
    if found < asked:
        raise ComputeRequestError(
            f"{step} asked for {asked} GPU{'s' if asked > 1 else ''} and {found or 'none'} can be used here "
            f"(CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES')!r}). Run it where there are enough, "
            "or lower `gpu` in its compute request (WINE_ASSETS_COMPUTE)."
        )


def _visible() -> int:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = _present()
    if named is None or not present:
        return present
    names = [name.strip() for name in named.split(",")]
    usable = names.index("-1") if "-1" in names else len(names)  # CUDA stops at the first name that is none
    return min(len([name for name in names[:usable] if name]), present)


def _present() -> int:
    devices = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in _DEVICES.glob("nvidia*"))
    return devices or _listed()


def _listed() -> int:
    """Ask the driver's own tool, for machines that show their GPUs under other names (WSL)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - found on the path
    return listed.stdout.count("GPU ")
