"""What nsqd left in its data path, taken over once: topics, channels, pauses and messages.

A channel's backlog goes to that channel alone, a topic's to the topic. Messages keep body,
timestamp and attempts, and get ids of this node: nsqd's are not consecutive, as those of a
run are. What was in flight or deferred nsqd wrote to the backlog when it ended, so it is ready.

Nothing is deleted. The files of a queue are moved to the folder `imported-by-nsqlite` once its
messages are on stable storage, and `nsqd.dat` comes last, so what is still in its place is
what is still to be done. Where an earlier import left files of these names, the folder is
`imported-by-nsqlite.1`, and so on, so that files can be moved back as they are.

Within a queue a bookmark follows every batch. Killed at any moment and started again, the
import goes on behind the bookmark: nothing is lost, and at most one batch, that between the
store and its bookmark, comes twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from nsqlite.core.broker import Broker
from nsqlite.core.channel import Channel
from nsqlite.core.topic import Topic
from nsqlite.daemon.diskqueue import (
    Bookmark,
    Gap,
    Place,
    Queue,
    Record,
    behind,
    find_queues,
    first_place,
    missing,
    parse_metadata,
    read_records,
    unpack_messages,
)
from nsqlite.daemon.nsqd_dat import NsqdTopic, parse_nsqd_dat
from nsqlite.errors import ImportRefusedError, NsqliteError
from nsqlite.names import is_ephemeral, is_valid_name
from nsqlite.node import Node
from nsqlite.ops import Adopt, ChangeChannel, ChangeTopic, MakeTopic
from nsqlite.storage import layout
from nsqlite.storage.journal import sync_folder
from nsqlite.storage.place import holder

NSQD_DAT: Final = "nsqd.dat"
IMPORTED: Final = "imported-by-nsqlite"
BOOKMARK: Final = ".bookmark"
BATCH_BYTES: Final = 1 << 20
BATCH_MESSAGES: Final = 1_000
log: Final = logging.getLogger("nsqlite")


@attrs.frozen
class ImportSummary:
    """What one import did.

    Attributes:
        topics: Topics that nsqd had, new to the node or not.
        channels: Channels that nsqd had.
        messages: Messages taken over; one that waited in two channels counts twice.
        skipped: Invalid names and unreadable stretches left out, each of which was logged.
    """

    topics: int = 0
    channels: int = 0
    messages: int = 0
    skipped: int = 0


def import_nsqd_files(node: Node, data_path: str, *, is_locked: bool = False) -> ImportSummary | None:
    """Take over what nsqd left in its data path; None if it left nothing there.

    Reads in batches, so that no backlog is in memory as a whole. Takes as much room in the
    store as the messages have; the files stay, in a folder beside them.

    Args:
        node: On disk, and nobody else publishes to it yet.
        data_path: nsqd's --data-path.
        is_locked: Whether the caller holds the lock that nsqd takes; see `locked_data_path`.

    Raises:
        ImportRefusedError: An nsqd is running on them, or they cannot be read. See there.
        StoreError: The store has no room, or failed. Started again, the import goes on.
    """
    if not _is_anything_there(data_path):
        return None
    if not node.engine.is_durable:
        why = "and this node keeps nothing on disk: give it a store, or move them away"
        raise ImportRefusedError(data_path, f"nsqd's files in {data_path} are to be imported, {why}")
    try:
        if is_locked:
            return _Import(node, data_path).run()
        with locked_data_path(data_path):
            return _Import(node, data_path).run()
    except NsqliteError:
        raise
    except OSError as error:
        file = str(error.filename or data_path)
        told = f"cannot import nsqd's files: {file}: {error.strerror}; set that right, or move nsqd's files away"
        raise ImportRefusedError(file, told) from error


@contextmanager
def locked_data_path(data_path: str) -> Iterator[None]:
    """Hold the lock that a running nsqd holds on its data path.

    Raises:
        ImportRefusedError: Somebody has it.
    """
    descriptor = os.open(data_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = holder(descriptor)
            told = f"cannot flock directory {data_path} - {error.strerror}"
            told += " (possibly in use by another instance of nsqd)" + (f": process {pid} holds it" if pid else "")
            raise ImportRefusedError(data_path, f"failed to lock data-path: {told}") from error
        yield
    finally:
        os.close(descriptor)


def _is_anything_there(data_path: str) -> bool:
    names = _names_in(data_path)
    return NSQD_DAT in names or any(each.is_alive or each.bad for each in find_queues(data_path, names).values())


def _names_in(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _held(broker: Broker) -> int:
    """Messages that topics and channels have; one that two channels have counts twice."""
    return sum(
        topic.depth + sum(each.depth + each.in_flight_count + each.deferred_count for each in topic.channels.values())
        for topic in broker.topics.values()
    )


class _Import:
    """One import, once the data path is locked."""

    def __init__(self, node: Node, data_path: str) -> None:
        self.node = node
        self.engine = node.engine
        self.data_path = data_path
        self.folder = self.first_folder = os.path.join(data_path, IMPORTED)
        self.limits = (self.engine.options.max_msg_size, self.engine.options.max_batch_bytes)
        self.topics: set[str] = set()
        self.channels: set[tuple[str, str]] = set()
        self.messages = 0
        self.skipped = 0

    def run(self) -> ImportSummary:
        """Do it."""
        names = os.listdir(self.data_path)
        listed = self._read_nsqd_dat() if NSQD_DAT in names else ()
        queues = find_queues(self.data_path, names).values()
        if any(each.numbers for each in queues):
            self._warn_of_held()
        self.folder = self._free_folder(names)
        for folder in (self.first_folder, self.folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        for topic in listed:
            self._make(topic)
        for queue in sorted(queues, key=lambda each: (each.owner[1] is None, each.name)):
            self._take_over(queue)  # those of channels first: what is behind what waits in a topic has to wait, too
        self.node.sync()
        self._drop_bookmarks()
        self._move([name for name in names if name.startswith(NSQD_DAT + ".") and name.endswith(".tmp")])
        self._move([name for name in names if name == NSQD_DAT])
        return self._summary()

    def _warn_of_held(self) -> None:
        """Say that the store is not new, unless an import goes on: files that come back double its messages."""
        if any(name.endswith(BOOKMARK) for name in _names_in(self.first_folder)):
            return
        if held := self.engine.locked(_held):
            told = (
                "the store holds %d messages already, and nsqd's queues in %s are imported beside them: "
                "those that were imported before come twice"
            )
            log.warning(told, held, self.data_path, extra={"event": "import_again"})

    def _free_folder(self, names: list[str]) -> str:
        """Where this import's files go under their own names: the last folder, or one more if it has one of them."""
        folder, number = self.first_folder, 1
        while os.path.isdir(following := f"{self.first_folder}.{number}"):
            folder, number = following, number + 1
        return following if set(names).intersection(_names_in(folder)) else folder

    def _summary(self) -> ImportSummary:
        done = ImportSummary(len(self.topics), len(self.channels), self.messages, self.skipped)
        log.info(
            "imported from nsqd: %d topics, %d channels, %d messages, %d skipped; its files are in %s",
            *attrs.astuple(done),
            self.folder,
            extra={"event": "imported"},
        )
        return done

    def _skip(self, told: str, *args: object) -> None:
        self.skipped += 1
        log.warning(told, *args, extra={"event": "import_skipped"})

    # -- topics and channels --------------------------------------------------------------

    def _read_nsqd_dat(self) -> tuple[NsqdTopic, ...]:
        path = os.path.join(self.data_path, NSQD_DAT)
        with open(path, "rb") as file:
            document = file.read()
        try:
            return parse_nsqd_dat(document)
        except ValueError as error:
            raise ImportRefusedError(path, f"failed to parse metadata in {path} - {error}") from error

    def _make(self, listed: NsqdTopic) -> None:
        if not is_valid_name(listed.name):
            self._skip("skipping creation of invalid topic %r", listed.name)
            return
        topic = self._topic(listed.name)
        if listed.paused and not topic.is_paused:
            self.engine.run(ChangeTopic(topic, layout.TOPIC_PAUSED, is_paused=True))
        for each in listed.channels:
            if not is_valid_name(each.name):
                self._skip("skipping creation of invalid channel %r", each.name)
                continue
            channel = self._channel(topic, each.name)
            if each.paused and not channel.is_paused:
                self.engine.run(ChangeChannel(channel, layout.CHANNEL_PAUSED, is_paused=True))

    def _topic(self, name: str) -> Topic:
        self.topics.add(name)
        topic: Topic = self.engine.run(MakeTopic(name))
        return topic

    def _channel(self, topic: Topic, name: str) -> Channel:
        self.channels.add((topic.name, name))
        channel: Channel = self.engine.run(self.engine.make_channel(topic, name))
        return channel

    # -- queues ---------------------------------------------------------------------------

    def _take_over(self, queue: Queue) -> None:
        names = [name for name in queue.owner if name is not None]
        if queue.bad:  # not counted: nsqd 1.3.0 does that to files that it has read to their end, too
            told = "not imported: %d files of %r that nsqd had put aside as unreadable (.bad)"
            log.warning(told, len(queue.bad), queue.name, extra={"event": "import_bad_files"})
        if not all(map(is_valid_name, names)):
            self._skip("not imported: the queue %r, since that is no name for one", queue.name)
        elif any(map(is_ephemeral, names)):
            self._skip("not imported: the queue %r, since ephemeral topics keep nothing", queue.name)
        elif queue.is_alive:
            count = self._take_messages(queue)
            log.info("imported %d messages of %s", count, queue.name, extra={"event": "imported_queue"})
        self._put_away(queue)

    def _take_messages(self, queue: Queue) -> int:
        before = self.messages
        topic_name, channel_name = queue.owner
        topic = self._topic(topic_name)
        owner = None if channel_name is None else self._channel(topic, channel_name)
        batch: list[Record] = []
        held_bytes = 0
        for each in read_records(queue, self._start(queue), *self.limits):
            if isinstance(each, Gap):
                self._skip_gap(each)
                continue
            if len(batch) == BATCH_MESSAGES or (batch and held_bytes + len(each.body) > BATCH_BYTES):
                self._adopt(queue, topic, owner, batch)
                batch, held_bytes = [], 0
            batch.append(each)
            held_bytes += len(each.body)
        if batch:
            self._adopt(queue, topic, owner, batch)
        return self.messages - before

    def _start(self, queue: Queue) -> Place:
        """Behind the bookmark of an import that was broken off, else where nsqd would go on."""
        place = self._behind_bookmark(queue)
        if place is not None:
            return place
        metadata = None
        if queue.has_metadata:
            with open(os.path.join(self.data_path, queue.metadata_file), "rb") as file:
                metadata = parse_metadata(file.read(1024))
        if metadata is None:
            told = "%s has no metadata that can be read: all that is there is imported"
            log.warning(told, queue.name, extra={"event": "import_without_metadata"})
            return first_place(queue, None)
        for gap in missing(queue, metadata):
            self._skip_gap(gap)
        return first_place(queue, metadata)

    def _skip_gap(self, gap: Gap) -> None:
        self._skip("not imported: %s, %d bytes from %d on: %s", gap.file, gap.size_bytes, gap.offset, gap.why)

    def _adopt(self, queue: Queue, topic: Topic, owner: Channel | None, batch: list[Record]) -> None:
        if owner is not None:
            self._refuse_waiting(topic)
        self.engine.run(Adopt(topic, owner, unpack_messages(batch)))
        self.node.sync()  # before the bookmark is: it must never be ahead
        self._set_bookmark(queue, Bookmark(batch[-1].place, batch[-1].head))
        self.messages += len(batch)

    def _refuse_waiting(self, topic: Topic) -> None:
        """A paused topic's messages go to all channels one day, so none may go past them to a single one."""

        def waits(_: Broker) -> bool:
            return topic.routed < topic.end

        if self.engine.locked(waits):
            told = (
                f"topic {topic.name!r} of the store is paused and has messages: unpause or empty it before the import"
            )
            raise ImportRefusedError(self.data_path, f"cannot import nsqd's files in {self.data_path}: {told}")

    # -- bookmarks and files --------------------------------------------------------------

    def _bookmark_file(self, queue: Queue) -> str:
        return os.path.join(self.first_folder, queue.name + BOOKMARK)

    def _behind_bookmark(self, queue: Queue) -> Place | None:
        try:
            with open(self._bookmark_file(queue), encoding="ascii", errors="replace") as file:
                found = Bookmark.unpack(file.read(256))
        except FileNotFoundError:
            return None
        return behind(queue, found) if found is not None else None

    def _set_bookmark(self, queue: Queue, bookmark: Bookmark) -> None:
        path = self._bookmark_file(queue)
        with open(path + ".tmp", "w", encoding="ascii") as file:
            file.write(bookmark.pack())
        os.replace(path + ".tmp", path)

    def _put_away(self, queue: Queue) -> None:
        """Move a queue's files; the last of its data last, since the bookmark is in it."""
        self.node.sync()
        data = [queue.data_file(number) for number in queue.numbers]
        metadata = [queue.metadata_file] if queue.has_metadata else []
        self._move([*queue.temporary, *queue.bad, *data[:-1], *metadata, *data[-1:]])

    def _drop_bookmarks(self) -> None:
        for name in os.listdir(self.first_folder):
            if name.endswith((BOOKMARK, BOOKMARK + ".tmp")):
                os.unlink(os.path.join(self.first_folder, name))

    def _move(self, names: list[str]) -> None:
        """Move files to where they are never looked at again. What an earlier import moved there stays."""
        for name in names:
            target = os.path.join(self.folder, name)
            assert not os.path.lexists(target), target
            os.rename(os.path.join(self.data_path, name), target)
        if names:
            sync_folder(self.folder)
            sync_folder(self.data_path)
