"""A disk as a power failure may leave it, rebuilt from the shim's log.

What a completed sync covers is there. Of what was written since, any part may be
there, in any order, torn at 512 bytes; a name that was made, moved or removed since
its folder's last sync may or may not be. Names that depend on each other (the same
name, the same file) keep their order, as on every filesystem that checks out clean.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from tests.shim import recording
from tests.shim.recording import Event

SECTOR_BYTES: Final = 512
_BLOCK_BYTES: Final = 1 << 16

#: What a store's folder holds: path below the root -> content, None for a folder.
Tree = dict[str, bytes | None]


@attrs.define
class Change:
    """One call on a file that no completed sync covers yet."""

    index: int
    kind: int
    offset: int
    data: bytes = b""

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + len(self.data)


@attrs.define(eq=False)
class Inode:
    """A file: what is on the disk for certain, and what may be."""

    is_folder: bool
    durable: bytearray = attrs.Factory(bytearray)
    pending: list[Change] = attrs.Factory(list)
    names: dict[str, Inode] = attrs.Factory(dict)  # of a folder: what is on the disk
    current: dict[str, Inode] = attrs.Factory(dict)  # and what the process sees


@attrs.define(eq=False)
class Naming:
    """One change of names: each (folder, name) and what it stands for afterwards."""

    index: int
    changes: list[tuple[Inode, str, Inode | None]]
    moved: Inode | None

    def depends_on(self, earlier: Naming) -> bool:
        """Whether no filesystem would keep this one without the earlier one."""
        if self.moved is not None and self.moved is earlier.moved:
            return True
        keys = {(id(folder), name) for folder, name, _ in earlier.changes}
        return any((id(folder), name) in keys for folder, name, _ in self.changes)

    def apply(self, names: dict[Inode, dict[str, Inode]]) -> None:
        """Do it, on folders as copied in `names`."""
        for folder, name, inode in self.changes:
            entries = names.setdefault(folder, dict(folder.names))
            if inode is None:
                entries.pop(name, None)
            else:
                entries[name] = inode


def apply(content: bytearray, change: Change) -> None:
    """Do one change of a file."""
    if change.kind == recording.TRUNCATE:
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
    elif change.kind == recording.EXTEND:
        content.extend(bytes(max(0, change.offset - len(content))))
    else:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.end] = change.data


class Disk:
    """Follows a log event by event; `image` says what a failure at this point may leave."""

    def __init__(self, root: Path, start: Tree | None = None, seed: int = 0) -> None:
        self._root = str(root.resolve())
        self._top = Inode(is_folder=True)
        self._inodes: dict[int, Inode] = {}
        self._namings: list[Naming] = []
        self._syncs: dict[int, tuple[Inode, int, tuple[int, int] | None]] = {}
        self._random = random.Random(seed)  # for syncs that fail: what reached the disk all the same
        for path, content in sorted((start or {}).items()):
            folder, name = self._parent(path)
            inode = Inode(is_folder=content is None, durable=bytearray(content or b""))
            folder.names[name] = folder.current[name] = inode

    def _parent(self, path: str) -> tuple[Inode, str]:
        *folders, name = path.split("/")
        at = self._top
        for each in folders:
            at = at.current[each]
        return at, name

    # ------------------------------------------------------------------ following

    def step(self, index: int, event: Event) -> None:
        """Take in the next event of the log."""
        kind, inode = event.kind, self._inodes.get(event.file)
        if kind == recording.FILE:
            self._inodes[event.file] = self._known(event) or Inode(is_folder=bool(event.a))
        elif kind in (recording.WRITE, recording.TRUNCATE, recording.EXTEND):
            assert inode is not None
            inode.pending.append(Change(index, kind, event.a, event.data))
        elif kind == recording.ZERO:
            assert inode is not None
            inode.pending.append(Change(index, recording.WRITE, event.a, bytes(event.b)))
        elif kind == recording.SYNC_BEGIN:
            assert inode is not None
            self._syncs[event.a] = (inode, index, event.span)
        elif kind == recording.SYNC_END:
            self._end_sync(*self._syncs.pop(event.a), failed=bool(event.b))
        elif kind in (recording.LINK, recording.UNLINK, recording.RENAME):
            assert inode is not None
            self._name(index, event, inode)

    def _known(self, event: Event) -> Inode | None:
        """A file that was there before the log began."""
        path = event.data.decode()
        if event.b:
            return None
        if path == self._root:
            return self._top
        try:
            folder, name = self._parent(path.removeprefix(self._root + "/"))
        except KeyError:
            return None
        return folder.current.get(name)

    def _name(self, index: int, event: Event, folder: Inode) -> None:
        changes: list[tuple[Inode, str, Inode | None]]
        if event.kind == recording.LINK:
            moved: Inode | None = self._inodes[event.a]
            changes = [(folder, event.data.decode(), moved)]
        elif event.kind == recording.UNLINK:
            moved = None
            changes = [(folder, event.data.decode(), None)]
        else:
            old, new = event.names
            moved = folder.current.get(old) or self._inodes[event.b]
            self._inodes[event.b] = moved
            changes = [(folder, old, None), (self._inodes[event.a], new, moved)]
        for where, name, inode in changes:
            if inode is None:
                where.current.pop(name, None)
            else:
                where.current[name] = inode
        self._namings.append(Naming(index, changes, moved))

    def _end_sync(self, inode: Inode, begin: int, span: tuple[int, int] | None, *, failed: bool) -> None:
        if inode.is_folder:
            if not failed:
                self._settle_names(inode, begin)
            return
        kept: list[Change] = []
        for change in inode.pending:
            if change.index >= begin:
                kept.append(change)
            elif failed:  # the kernel may have dropped the page: no later sync will write it
                if self._random.random() < 0.5:
                    apply(inode.durable, change)
            elif span is None or change.kind != recording.WRITE:
                apply(inode.durable, change)
            else:
                kept.extend(_outside(inode.durable, change, *span))
        inode.pending = kept

    def _settle_names(self, folder: Inode, begin: int) -> None:
        """A folder is synced: its names are certain, and what they depend on."""
        wanted = [
            each for each in self._namings if each.index < begin and any(at is folder for at, _, _ in each.changes)
        ]
        names: dict[Inode, dict[str, Inode]] = {}
        done = _closed(self._namings, wanted)
        for each in done:
            each.apply(names)
        for where, entries in names.items():
            where.names = entries
        settled = set(map(id, done))
        self._namings = [each for each in self._namings if id(each) not in settled]

    # ------------------------------------------------------------------- imagining

    def image(self, rng: random.Random) -> Tree:
        """What the disk may hold if the power fails now."""
        names: dict[Inode, dict[str, Inode]] = {}
        for naming in self._some_names(rng):
            naming.apply(names)
        tree: Tree = {}
        self._collect(self._top, "", names, rng, tree)
        return tree

    def _collect(
        self, folder: Inode, prefix: str, names: dict[Inode, dict[str, Inode]], rng: random.Random, tree: Tree
    ) -> None:
        for name, inode in sorted(names.get(folder, folder.names).items()):
            if inode.is_folder:
                tree[prefix + name] = None
                self._collect(inode, f"{prefix}{name}/", names, rng, tree)
            else:
                tree[prefix + name] = bytes(_some_content(inode, rng))

    def _some_names(self, rng: random.Random) -> list[Naming]:
        namings, way = self._namings, rng.randrange(5)
        if way == 0 or not namings:
            return []
        if way == 1:
            return namings
        if way == 2:
            return namings[: rng.randrange(len(namings) + 1)]
        return _closed(namings, [each for each in namings if rng.random() < 0.5])


def _outside(durable: bytearray, change: Change, start: int, length: int) -> Iterator[Change]:
    """Apply what lies in a synced span; yield what does not."""
    end = start + length
    inner_start, inner_end = max(start, change.offset), min(end, change.end)
    if inner_start >= inner_end:
        yield change
        return
    inner = change.data[inner_start - change.offset : inner_end - change.offset]
    apply(durable, Change(change.index, change.kind, inner_start, inner))
    if change.offset < inner_start:
        yield Change(change.index, change.kind, change.offset, change.data[: inner_start - change.offset])
    if change.end > inner_end:
        yield Change(change.index, change.kind, inner_end, change.data[inner_end - change.offset :])


def _closed(namings: list[Naming], wanted: list[Naming]) -> list[Naming]:
    """`wanted` with everything it depends on, in order."""
    taken = set(map(id, wanted))
    for place in range(len(namings) - 1, -1, -1):
        if id(namings[place]) in taken:
            taken.update(id(each) for each in namings[:place] if namings[place].depends_on(each))
    return [each for each in namings if id(each) in taken]


def _sectors(change: Change) -> Iterator[Change]:
    at = change.offset
    while at < change.end:
        end = min(at + SECTOR_BYTES - at % SECTOR_BYTES, change.end)
        yield Change(change.index, change.kind, at, change.data[at - change.offset : end - change.offset])
        at = end


def _torn(content: bytearray, change: Change, rng: random.Random) -> None:
    """Do a part of a write: some of its sectors, often all before or all behind one."""
    if change.kind != recording.WRITE:
        if rng.random() < 0.5:
            apply(content, change)
        return
    sectors = list(_sectors(change))
    way, cut = rng.randrange(3), rng.randrange(len(sectors) + 1)
    for place, sector in enumerate(sectors):
        if (place < cut, place >= cut, rng.random() < 0.5)[way]:
            apply(content, sector)
    if rng.random() < 0.5:  # the size is metadata and has a life of its own
        content.extend(bytes(max(0, change.end - len(content))))


def _some_content(inode: Inode, rng: random.Random) -> bytearray:
    """One file as it may be: the ways that are likely to hurt, and chance."""
    content, pending = bytearray(inode.durable), inode.pending
    if not pending:
        return content
    way = rng.randrange(7)
    if way == 1:
        chosen = list(range(len(pending)))
    elif way == 2:  # all but one
        left_out = rng.randrange(len(pending))
        chosen = [place for place in range(len(pending)) if place != left_out]
    elif way == 3:  # one alone
        chosen = [rng.randrange(len(pending))]
    elif way in (0, 4):
        chosen = [] if way == 0 else list(range(rng.randrange(len(pending) + 1)))
    else:
        share = rng.choice((0.1, 0.5, 0.9))
        chosen = [place for place in range(len(pending)) if rng.random() < share]
    torn = rng.choice(chosen) if chosen and way in (4, 5) else None
    for place in chosen:
        if place == torn or (way == 6 and rng.random() < 0.5):
            _torn(content, pending[place], rng)
        else:
            apply(content, pending[place])
    return content


def write_tree(tree: Tree, target: Path) -> None:
    """Lay an image out in a folder, leaving holes where there are zeros."""
    target.mkdir(parents=True, exist_ok=True)
    for path, content in sorted(tree.items()):
        where = target / path
        if content is None:
            where.mkdir()
            continue
        descriptor = os.open(where, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            os.ftruncate(descriptor, len(content))
            for at in range(0, len(content), _BLOCK_BYTES):
                block = content[at : at + _BLOCK_BYTES]
                if block.count(0) != len(block):
                    os.pwrite(descriptor, block, at)
        finally:
            os.close(descriptor)


def read_tree(source: Path) -> Tree:
    """Read a folder as an image."""
    return {
        str(path.relative_to(source)): None if path.is_dir() else path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_dir() or path.is_file()
    }
