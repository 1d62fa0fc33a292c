"""Names that try to lead out of the repository."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.process

NAMES = 5_000
PIECES = ("..", "/", "\\", "\0", "%2e%2e", "%2f", ".", "~", "-", "CON", "\u2025", "\uff0e", "\u2024", "wine", "\n", " ")

PROGRAM = """
import json, os, string, sys
from pathlib import Path
from wine_assets.errors import RepositoryError
from wine_assets.inference import ModelRepository
from wine_assets.inference.store import LocalStore

EVENTS = {
    "open": 1, "os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.listdir": 1, "os.scandir": 1, "os.chmod": 1,
    "os.truncate": 1, "os.utime": 1, "os.chdir": 1, "shutil.rmtree": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
}
root, names = sys.argv[1], json.loads(sys.stdin.read())
models, wine = Path(root, "models"), ModelRepository(Path(root, "models", "wine"))
store, flat, written = (LocalStore(Path(root, name)) for name in ("folders", "flat", "written"))
flat.create("a", {"a": b"1"})
touched, wrong, used = [], [], set()
watching = False

def watch(event, arguments):
    if not watching or event not in EVENTS:
        return
    if event in ("os.remove", "os.rmdir") and arguments[1] != -1:
        return  # below a folder that is open, which was seen when it was opened
    paths = [path for path in arguments[: EVENTS[event]] if not isinstance(path, int)]
    touched.append([event, [os.path.realpath(os.fsdecode(path)) for path in paths]])

def is_plain(part, others, length):
    return 0 < len(part) <= length and part[0] not in "._-" and set(part) <= {*others, *string.digits}

def is_model(name):
    return is_plain(name, string.ascii_lowercase + "_-", 63) and name[0] in string.ascii_lowercase + string.digits

def is_path(name):
    return all(is_plain(part, string.ascii_letters + "._-", 100) for part in name.split("/"))

USES = {
    "a model, looked at": (lambda name: ModelRepository.named(models, name).champion(), is_model),
    "a model, listed": (lambda name: ModelRepository.named(models, name).versions(), is_model),
    "a version, read": (wine.read, lambda name: False),
    "a version, verified": (wine.verify, lambda name: False),
    "a version's report": (wine.report, lambda name: False),
    "a version, promoted": (lambda name: wine.promote(name, expected=None, by="a test"), lambda name: False),
    "a file, read": (store.read, is_path),
    "a folder, listed": (store.names, is_path),
    "a folder, made": (lambda name: store.create(name, {"a": b"1"}), is_path),
    "a folder, removed": (lambda name: flat.remove(name, "champion", None), is_path),
    "a file, made": (lambda name: store.create("one/1", {name: b"1"}), lambda name: is_path(name) and "/" not in name),
    "a file, replaced": (lambda name: written.replace(name, None, b"1"), is_path),
}
sys.addaudithook(watch)
for name in names:
    for what, (use, is_fit) in USES.items():
        watching, error = True, None
        try:
            use(name)
            used.add(what)
        except Exception as raised:
            error = raised
        finally:
            watching = False
        if not isinstance(error, RepositoryError if not is_fit(name) else (RepositoryError, OSError, type(None))):
            wrong.append(f"{what} {name!r}: {error!r}")
outside = [t for t in touched if any(p != root and not p.startswith(root + os.sep) for p in t[1])]
events = sorted({event for event, _ in touched})
print(json.dumps({"events": events, "outside": outside[:5], "wrong": wrong[:5], "used": sorted(used)}))
"""

hostile: list[str] = []


@settings(max_examples=NAMES, deadline=None, database=None)
@given(
    st.one_of(
        st.text(st.characters(), max_size=40),
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join),
        st.integers(1, 5_000).map(lambda length: "a" * length),
        st.sampled_from(["/etc/passwd", "../../../../etc/passwd", "..\\..\\x", "-rf", "LPT1", "wine/../../x", "%00"]),
    )
)
def _collect(name: str) -> None:
    hostile.append(name)


def test_nothing_outside_of_the_root_is_opened_whatever_the_name(tmp_path: Path) -> None:
    """And whatever isn't a plain name is refused as one, be it of a model, of a version or of a file."""
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
    assert (found["outside"], found["wrong"]) == ([], [])
    assert {"open", "os.listdir", "os.mkdir", "os.rename"} <= {*found["events"]}, "good names are used, within the root"
    assert {"a model, looked at", "a folder, made", "a folder, removed", "a file, replaced"} <= {*found["used"]}
    assert list(elsewhere.iterdir()) == [], "what is relative is relative to the root"
