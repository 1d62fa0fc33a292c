"""A disk as a power failure may leave it: what was recorded of a writer, with all that wasn't flushed in doubt.

A file's data are certain up to its last fsync; a name is certain once its folder was flushed after the name was made,
moved or removed. Whatever is uncertain may have reached the disk or not, each for itself and in any order.
"""

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (\d+)")
_PATH_OF_DESCRIPTOR = re.compile(r"<([^>]*)>")
_QUOTED = re.compile(r'"([^"]*)"')
MOST_STATES = 64
"""States that are tried for each prefix; of more there is a seeded sample."""


@dataclass(frozen=True)
class Call:
    """A system call that changes what is on the disk; paths are relative to the folder that is watched."""

    kind: str
    """`make` (a file or a folder), `write`, `flush`, `move` or `remove`."""
    path: str
    target: str = ""
    bytes: int = 0
    is_folder: bool = False


def recorded(trace: str, root: Path) -> list[Call]:
    """Return what strace saw of writers below `root`."""
    found = (_call(match[1], match[2], root) for match in map(_LINE.match, trace.splitlines()) if match)
    return [call for call in found if call is not None]


def _call(name: str, arguments: str, root: Path) -> Call | None:  # noqa: PLR0911 - one for each kind
    quoted = [_relative(path, root) for path in _QUOTED.findall(arguments)]
    held = [_relative(path, root) for path in _PATH_OF_DESCRIPTOR.findall(arguments)]
    if name == "openat" and "O_CREAT" in arguments and quoted[0]:
        return Call("make", quoted[0])
    if name == "mkdir" and quoted[0]:
        return Call("make", quoted[0], is_folder=True)
    if name == "write" and held[0]:
        return Call("write", held[0], bytes=int(arguments.rpartition(", ")[2]))
    if name == "fsync" and held[0] is not None:
        return Call("flush", held[0])
    if name.startswith("rename") and quoted[0] and quoted[1]:
        return Call("move", quoted[0], quoted[1])
    if name in ("unlink", "rmdir") and quoted[0]:
        return Call("remove", quoted[0])
    return None


def _relative(path: str, root: Path) -> str | None:
    """Return a path below the root, "" for the root itself, None for any other."""
    place = Path(path)
    if place == root:
        return ""
    return str(place.relative_to(root)) if place.is_relative_to(root) else None


@dataclass
class _Node:
    """A file or a folder, whatever names it has."""

    is_folder: bool
    written: int = 0
    flushed: int = 0


@dataclass
class _Change:
    """A name that appears in a folder or goes away from it."""

    folder: _Node
    name: str
    node: _Node | None
    moved_from: str = ""
    is_certain: bool = False


@dataclass
class Disk:
    """The names and files that a writer has made, and which of them are certain."""

    root: _Node = field(default_factory=lambda: _Node(is_folder=True))
    changes: list[_Change] = field(default_factory=list)
    existing: dict[str, _Node] = field(default_factory=dict)

    def has_folder(self, path: str) -> None:
        """Take note of a folder from before the recording."""
        self.existing[path] = _Node(is_folder=True)

    def apply(self, call: Call) -> None:
        """Take note of one call."""
        if call.kind == "make":
            self._make(call)
        elif call.kind == "write":
            self._node(call.path).written += call.bytes
        elif call.kind == "flush":
            self._flush(self._node(call.path))
        elif call.kind == "move":
            self._move(call)
        else:
            self._change(call.path, None)

    def _make(self, call: Call) -> None:
        if self._find(call.path) is None:
            self._change(call.path, _Node(call.is_folder))

    def _move(self, call: Call) -> None:
        node = self._node(call.path)
        folder, name = self._place(call.target)
        self.changes.append(_Change(folder, name, node, moved_from=Path(call.path).name))

    def _change(self, path: str, node: _Node | None) -> None:
        folder, name = self._place(path)
        self.changes.append(_Change(folder, name, node))

    def _flush(self, node: _Node) -> None:
        node.flushed = node.written
        for change in self.changes:
            if change.folder is node:
                change.is_certain = True

    def _place(self, path: str) -> tuple[_Node, str]:
        place = Path(path)
        return self._node("" if str(place.parent) == "." else str(place.parent)), place.name

    def _node(self, path: str) -> _Node:
        node = self._find(path)
        assert node is not None, path
        return node

    def _find(self, path: str) -> _Node | None:
        """Return what a path names now; a folder from before the recording is as it was."""
        if not path:
            return self.root
        place, node = Path(path), None
        parent = "" if str(place.parent) == "." else str(place.parent)
        folder = self._find(parent)
        for change in self.changes:
            if change.folder is folder and change.name == place.name:
                node = change.node
            elif change.folder is folder and change.moved_from == place.name:
                node = None
        return node if node is not None else self.existing.get(path)

    def states(self, seed: int) -> Iterator["State"]:
        """Yield what may be on the disk after a power failure at this moment."""
        doubtful = [change for change in self.changes if not change.is_certain]
        files = [c.node for c in self.changes if c.node and not c.node.is_folder and c.node.flushed < c.node.written]
        files = list({id(node): node for node in files}.values())
        lengths = [sorted({node.flushed, (node.flushed + node.written) // 2, node.written}) for node in files]
        kept = list(itertools.product([False, True], repeat=len(doubtful)))
        for happened, sizes in _some(list(itertools.product(kept, itertools.product(*lengths))), seed):
            lost = {id(change) for change, reached in zip(doubtful, happened, strict=True) if not reached}
            changes = [change for change in self.changes if id(change) not in lost]
            yield State(self.root, self.existing, changes, {id(n): size for n, size in zip(files, sizes, strict=True)})


def _some(states: "list[tuple[tuple[bool, ...], tuple[int, ...]]]", seed: int) -> Sequence[Any]:
    if len(states) <= MOST_STATES:
        return states
    return random.Random(seed).sample(states, MOST_STATES)  # noqa: S311 - a sample, and no secret


@dataclass
class State:
    """One of the contents that a disk may have."""

    root: _Node
    existing: dict[str, _Node]
    changes: list[_Change]
    lengths: dict[int, int]

    def write(self, before: Path, whole: dict[int, bytes]) -> None:
        """Make the folder `before`, which holds what was there before the recording, hold this state."""
        self._fill(before, self.root, whole)
        for path, folder in self.existing.items():
            self._fill(before / path, folder, whole)

    def _fill(self, folder: Path, node: _Node, whole: dict[int, bytes]) -> None:
        names: dict[str, _Node | None] = {}
        for change in self.changes:
            if change.folder is node:
                names[change.name] = change.node
                if change.moved_from:
                    names[change.moved_from] = None
        for name, child in names.items():
            path = folder / name
            if child is None:
                path.unlink(missing_ok=True)
            elif child.is_folder:
                path.mkdir(exist_ok=True)
                self._fill(path, child, whole)
            else:
                length = self.lengths.get(id(child), child.written)
                path.write_bytes(whole[id(child)][:length])


def without(calls: Sequence[Call], kind: str, suffix: str) -> list[Call]:
    """Return the calls without those of a kind whose path ends with `suffix`."""
    return [replace(call) for call in calls if not (call.kind == kind and re.fullmatch(suffix, call.path))]
