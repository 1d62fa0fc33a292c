"""Names that try to lead out of the repository."""

import json
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = 5_000
PIECES = ("..", "/", "\\", "\0", "%2e%2e", "%2f", ".", "~", "-", "CON", "\u2025", "\uff0e", "\u2024", "wine", "\n", " ")

PROGRAM = """
import json, os, sys
from wine_assets.errors import RepositoryError
from wine_assets.inference import ModelRepository
from wine_assets.inference.store import LocalStore

root, names = sys.argv[1], json.loads(sys.stdin.read())
touched, accepted, other = [], 0, []
watching = False

def watch(event, arguments):
    if watching and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.link"):
        paths = arguments[: 2 if event in ("os.rename", "os.link") else 1]
        touched.append([event, [os.path.realpath(p) for p in map(str, paths) if os.path.isabs(p)]])

sys.addaudithook(watch)
for name in names:
    for use in (
        lambda: ModelRepository.named(root, name).champion(),
        lambda: ModelRepository.named(root, name).read(name),
        lambda: ModelRepository(os.path.join(root, "wine")).read(name),
        lambda: LocalStore(__import__("pathlib").Path(root)).read(name),
        lambda: LocalStore(__import__("pathlib").Path(root)).create(name, {"a": b"1"}),
        lambda: LocalStore(__import__("pathlib").Path(root)).create("versions", {name: b"1"}),
    ):
        watching = True
        try:
            use()
            accepted += 1
        except (RepositoryError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
            pass
        except Exception as error:
            other.append(f"{name!r}: {type(error).__name__}: {error}")
        finally:
            watching = False
outside = [t for t in touched if any(p != root and not p.startswith(root + os.sep) for p in t[1])]
print(json.dumps({"touched": len(touched), "outside": outside[:5], "other": other[:5]}))
"""

hostile: list[str] = []


@settings(max_examples=NAMES, deadline=None, database=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join),
        st.integers(1, 5_000).map(lambda length: "a" * length),
        st.sampled_from(["/etc/passwd", "../../../../etc/passwd", "..\\..\\x", "-rf", "LPT1", "wine/../../x", "%00"]),
    )
)
def _collect(name: str) -> None:
    hostile.append(name.encode(errors="replace").decode())


def test_nothing_outside_of_the_root_is_opened_whatever_the_name(tmp_path: Path) -> None:
    hostile.clear()
    _collect()
    root = tmp_path / "models"
    root.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root.resolve())],
        input=json.dumps(hostile),
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
        cwd=elsewhere,
    )
    found = json.loads(done.stdout)
    assert len(hostile) >= NAMES
    assert found["touched"] > 0, "names that are good are used, within the root"
    assert (found["outside"], found["other"]) == ([], [])
    assert list(elsewhere.iterdir()) == [], "what is relative is relative to the root"
