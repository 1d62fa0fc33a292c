"""A disk as a power failure may leave it: what was recorded of a writer, with all that wasn't flushed in doubt.

A file's data are certain up to its last fsync; a name is certain once its folder was flushed after the name was made,
moved or removed. Whatever is uncertain may have reached the disk or not, each for itself and in any order.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_BY_DESCRIPTOR = ("write", "fsync", "fdatasync", "pwrite64", "writev", "ftruncate")
_BY_PATH = ("openat", "mkdir", "rename", "renameat", "renameat2", "link", "unlink", "unlinkat", "rmdir")
CALLS = ",".join([*_BY_DESCRIPTOR, *_BY_PATH])
"""The calls that change what is on a disk; those among them that no writer here makes are refused."""
_KINDS = {
    "write": "write",
    "fsync": "flush",
    "fdatasync": "flush",
    "openat": "file",
    "mkdir": "folder",
    "rename": "move",
    "unlink": "remove",
    "unlinkat": "remove",
    "rmdir": "remove",
}
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += \d+")
_HELD = re.compile(r"^\d+<([^>]*)>")
_QUOTED = re.compile(r'"([^"]*)"')
_BELOW_A_FOLDER = re.compile(r'^[^<]*<([^>]*)>, "([^"]*)"')

Tree = frozenset[tuple[str, bytes | None]]
"""What is on a disk: the content of each file by its path, None for a folder."""


@dataclass(frozen=True)
class Call:
    """A system call that changes what is on the disk; paths are relative to the folder that is watched."""

    kind: str
    """`file` or `folder` (which is made), `write`, `flush`, `move`, `remove`, or `say`, of what a writer tells."""
    path: str
    target: str = ""
    content: bytes = b""


def recorded(trace: str, root: Path) -> list[Call]:
    """Return what strace (-y -xx) saw of a writer below `root`, and what the writer said."""
    found = (_call(match[1], match[2], root) for match in map(_LINE.match, trace.splitlines()) if match)
    return [call for call in found if call is not None]


def _call(name: str, arguments: str, root: Path) -> Call | None:
    quoted = [_decoded(text) for text in _QUOTED.findall(arguments)]
    if name == "write" and arguments.startswith("1<"):
        return Call("say", quoted[0].decode().strip())
    paths = [_below(path, root) for path in _paths(name, arguments)]
    if paths[0] is None or (name == "openat" and "O_CREAT" not in arguments):
        return None
    content = quoted[0] if name == "write" and quoted else b""
    return Call(_KINDS[name], paths[0], str(paths[-1]), content)


def _paths(name: str, arguments: str) -> list[str]:
    """Return the paths that a call is about, those relative to an open folder made whole."""
    if name in _BY_DESCRIPTOR:
        return [_decoded(_HELD.findall(arguments)[0]).decode()]
    if name in ("openat", "unlinkat"):
        folder, path = (_decoded(text).decode() for text in _BELOW_A_FOLDER.findall(arguments)[0])
        return [str(Path(folder) / path)]
    return [_decoded(path).decode() for path in _QUOTED.findall(arguments)]


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


def _below(path: str, root: Path) -> str | None:
    """Return a path below the root, "" for the root itself, None for any other."""
    place = Path(path)
    if not place.is_relative_to(root):
        return None
    return "" if place == root else str(place.relative_to(root))


@dataclass(eq=False)
class _Node:
    """A file or a folder, whatever names it has."""

    is_folder: bool
    content: bytes = b""
    flushed: int = 0

    def contents(self) -> list[bytes]:
        """Return what a file may hold: what was flushed alone, half of the rest, all, or zeros in place of the rest."""
        certain, whole = self.content[: self.flushed], self.content
        half = self.content[: (self.flushed + len(whole)) // 2]
        return list(dict.fromkeys([certain, half, whole, certain + bytes(len(whole) - self.flushed)]))


@dataclass(eq=False)
class _Change:
    """A name that appears in a folder, or goes away from it; a move is both at once."""

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

    @classmethod
    def holding(cls, folder: Path) -> "Disk":
        """Return a disk that holds what a folder does, all of it certain."""
        disk = cls()
        for path in sorted(folder.rglob("*")):
            content = b"" if path.is_dir() else path.read_bytes()
            node = _Node(path.is_dir(), content, len(content))
            disk._change(str(path.relative_to(folder)), node)
            disk.changes[-1].is_certain = True
        return disk

    def apply(self, call: Call) -> None:
        """Take note of one call."""
        if call.kind in ("file", "folder"):
            self._make(call)
        elif call.kind == "write":
            self._node(call.path).content += call.content
        elif call.kind == "flush":
            self._flush(self._node(call.path))
        elif call.kind == "move":
            self._move(call)
        elif call.kind == "remove":
            self._change(call.path, None)

    def trees(self) -> Iterator[Tree]:
        """Yield each tree that may be on the disk after a power failure at this moment, once."""
        seen: set[frozenset[tuple[str, _Node]]] = set()
        doubtful = [change for change in self.changes if not change.is_certain]
        for reached in itertools.product([False, True], repeat=len(doubtful)):
            lost = {id(change) for change, has_reached in zip(doubtful, reached, strict=True) if not has_reached}
            named = frozenset(_named(self.root, [change for change in self.changes if id(change) not in lost], ""))
            if named not in seen:
                seen.add(named)
                yield from _filled(sorted(named, key=lambda entry: entry[0]))

    def _make(self, call: Call) -> None:
        found = self._find(call.path)
        if found is None:
            self._change(call.path, _Node(call.kind == "folder"))
        else:
            assert not found.content, f"{call.path} is opened to be written in place"

    def _move(self, call: Call) -> None:
        node = self._node(call.path)
        folder, name = self._place(call.target)
        assert self._place(call.path)[0] is folder, "a move to another folder"
        self.changes.append(_Change(folder, name, node, moved_from=Path(call.path).name))

    def _change(self, path: str, node: _Node | None) -> None:
        self.changes.append(_Change(*self._place(path), node))

    def _flush(self, node: _Node) -> None:
        node.flushed = len(node.content)
        for change in self.changes:
            change.is_certain |= change.folder is node

    def _place(self, path: str) -> tuple[_Node, str]:
        place = Path(path)
        return self._node("" if str(place.parent) == "." else str(place.parent)), place.name

    def _node(self, path: str) -> _Node:
        node = self._find(path)
        assert node is not None, path
        return node

    def _find(self, path: str) -> _Node | None:
        node: _Node | None = self.root
        for part in Path(path).parts:
            node = _entries(node, self.changes).get(part)
        return node


def _entries(folder: _Node | None, changes: Sequence[_Change]) -> dict[str, _Node]:
    entries: dict[str, _Node] = {}
    for change in changes:
        if change.folder is folder:
            entries.pop(change.moved_from, None)
            entries.pop(change.name, None)
            if change.node is not None:
                entries[change.name] = change.node
    return entries


def _named(folder: _Node, changes: Sequence[_Change], below: str) -> Iterator[tuple[str, _Node]]:
    """Yield all that can be reached from a folder."""
    for name, node in _entries(folder, changes).items():
        yield below + name, node
        if node.is_folder:
            yield from _named(node, changes, f"{below}{name}/")


def _filled(named: "list[tuple[str, _Node]]") -> Iterator[Tree]:
    """Yield the tree with each content that its files may have."""
    files = list(dict.fromkeys(node for _, node in named if not node.is_folder))
    for contents in itertools.product(*(node.contents() for node in files)):
        held = dict(zip(files, contents, strict=True))
        yield frozenset((path, held.get(node)) for path, node in named)


def made(tree: Tree, folder: Path) -> None:
    """Make a folder that holds what is on the disk."""
    folder.mkdir()
    for path, content in sorted(tree):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
