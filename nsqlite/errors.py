"""Every error that nsqlite raises on purpose, as one tree.

NsqliteError
├── InvalidInputError (ValueError)      the call was wrong; nothing happened
│   ├── InvalidNameError                a topic or channel name that NSQ forbids
│   ├── InvalidBodyError (TypeError)    a body that is not bytes-like, or is empty
│   ├── MessageTooBigError              a body or a batch above its limit
│   ├── InvalidDelayError               a delay that is no finite, non-negative time
│   └── InvalidOptionError              an option out of its range
├── ClosedError (RuntimeError)          the thing that was used is gone; nothing happened
│   ├── NodeClosedError
│   ├── TopicDeletedError
│   ├── ChannelDeletedError
│   └── ConsumerClosedError
├── TooManyConsumersError (RuntimeError)  the channel has as many as `max_channel_consumers`
├── NotInFlightError (LookupError)      answered before, timed out, emptied or deleted
├── MisuseError (RuntimeError)          a call from where none may come
│   ├── ForkedError                     from a forked child
│   ├── ReentrantError                  from a signal handler or finaliser inside a call
│   └── WrongLoopError                  an asyncio face used from another loop
├── NodeFailedError (RuntimeError)      a turn broke half-way; open the store anew
├── ListenError (OSError)               a listener's address cannot be had
├── ImportRefusedError (OSError)        nsqd's own files are there and cannot be taken over
└── StoreError (OSError)
    ├── StorePathError                  not a folder, not writable, not a store
    ├── StoreLockedError                open elsewhere; `pid` says where
    ├── StoreVersionError               written by a newer nsqlite
    ├── NetworkFilesystemError          refused unless asked for
    ├── StoreDamagedError               cannot be opened safely
    ├── DamagedRecordError              one stretch of messages is unreadable; the rest goes on
    ├── StoreFullError                  no room for a publish; finishing makes room
    └── StorageFailedError              the disk failed; `outcome_unknown` says what that means
"""

from __future__ import annotations


class NsqliteError(Exception):
    """Root of every error that nsqlite raises on purpose."""


class InvalidInputError(NsqliteError, ValueError):
    """The call itself was wrong. Nothing was changed."""


class InvalidNameError(InvalidInputError):
    """A topic or channel name that NSQ does not allow.

    Attributes:
        kind: ``"topic"`` or ``"channel"``.
        name: What was given.
    """

    def __init__(self, kind: str, name: object) -> None:
        self.kind, self.name = kind, name
        super().__init__(
            f"{kind} name {name!r} is not valid: use 1 to 64 of the characters a-z A-Z 0-9 . _ - "
            f"with '#ephemeral' at the end if it is to be ephemeral"
        )


class InvalidBodyError(InvalidInputError, TypeError):
    """A body that is not bytes-like, or has no bytes."""

    def __init__(self, body: object, index: int | None = None, *, is_batch: bool = False) -> None:
        where = "" if index is None else f" at index {index} of the batch"
        if is_batch:
            told = f"bodies is one {type(body).__name__}, not several: give a list of bodies, or use publish()"
        elif isinstance(body, str):
            told = f"body{where} is a str: encode it first, for example body.encode()"
        elif isinstance(body, (bytes, bytearray, memoryview)):
            told = f"body{where} is empty: NSQ messages have at least one byte"
        else:
            told = (
                f"body{where} is {type(body).__name__}, not bytes-like: serialise it first, for "
                f"example json.dumps(body).encode()"
            )
        super().__init__(told)


class MessageTooBigError(InvalidInputError):
    """A body above `max_msg_size`, or a batch above `max_batch_bytes`.

    Attributes:
        size_bytes: What was given.
        limit_bytes: What is allowed.
        option: The option that sets the limit.
    """

    def __init__(self, size_bytes: int, limit_bytes: int, option: str) -> None:
        self.size_bytes, self.limit_bytes, self.option = size_bytes, limit_bytes, option
        super().__init__(
            f"{size_bytes} bytes are more than {option} allows ({limit_bytes}): split it, or raise {option}"
        )


class InvalidDelayError(InvalidInputError):
    """A delay that is negative, not a number or not finite."""

    def __init__(self, delay: object) -> None:
        self.delay = delay
        super().__init__(f"delay {delay!r} is not valid: give finite seconds from 0 up, as a float, or a timedelta")


class InvalidOptionError(InvalidInputError):
    """An option with a value out of its range, or of the wrong type.

    Attributes:
        option: Its name.
        value: What was given.
    """

    def __init__(self, option: str, value: object, wanted: str) -> None:
        self.option, self.value = option, value
        super().__init__(f"option {option}={value!r} is not valid: {wanted}")


class ClosedError(NsqliteError, RuntimeError):
    """What was used is closed or deleted. The call did nothing."""


class NodeClosedError(ClosedError):
    """The node is closed, or is closing."""

    def __init__(self) -> None:
        super().__init__("the node is closed: nothing was published or answered; open the store again")


class TopicDeletedError(ClosedError):
    """The topic of this handle was deleted."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"topic {topic!r} was deleted: node.topic({topic!r}) makes a new one")


class ChannelDeletedError(ClosedError):
    """The channel of this handle was deleted."""

    def __init__(self, topic: str, channel: str) -> None:
        self.topic, self.channel = topic, channel
        super().__init__(f"channel {channel!r} of topic {topic!r} was deleted: make it again with topic.channel()")


class ConsumerClosedError(ClosedError):
    """The consumer was closed."""

    def __init__(self) -> None:
        super().__init__("the consumer is closed: open another with channel.consume()")


class TooManyConsumersError(NsqliteError, RuntimeError):
    """A channel that has as many consumers as it may."""

    def __init__(self, topic: str, channel: str, limit: int) -> None:
        self.topic, self.channel, self.limit = topic, channel, limit
        super().__init__(
            f"consumers for {topic}:{channel} exceed the limit of {limit}: close one, or raise max_channel_consumers"
        )


class NotInFlightError(NsqliteError, LookupError):
    """A message that is no longer in flight for who answers it.

    Attributes:
        ids: The messages that could not be answered; all others of the call were.
    """

    def __init__(self, ids: list[bytes]) -> None:
        self.ids = ids
        shown = ", ".join(each.decode() for each in ids[:3]) + (", ..." if len(ids) > 3 else "")
        super().__init__(
            f"{len(ids)} message(s) not in flight ({shown}): answered before, timed out, emptied or deleted; "
            f"touch() a message that needs longer than msg_timeout"
        )


class MisuseError(NsqliteError, RuntimeError):
    """A call from where none may come. Nothing was changed."""


class ForkedError(MisuseError):
    """A node used in a child of the process that opened it."""

    def __init__(self) -> None:
        super().__init__(
            "this node was opened before the process forked: open a store in one process only, "
            "and start workers before opening, or use threads"
        )


class ReentrantError(MisuseError):
    """A node used inside one of its own calls, from a signal handler or a finaliser."""

    def __init__(self) -> None:
        super().__init__(
            "the node was called from inside its own call (a signal handler or a finaliser): "
            "set a flag there and call from ordinary code"
        )


class WrongLoopError(MisuseError):
    """An asyncio face used from a loop it does not belong to."""

    def __init__(self) -> None:
        super().__init__("an asyncio face belongs to one loop: make another with nsqlite.aio.face(node)")


class NodeFailedError(NsqliteError, RuntimeError):
    """A turn was broken off half-way, so the node's memory is not trusted any more.

    Attributes:
        outcome_unknown: Whether what this call asked for was in that turn, and may be
            there when the store is opened again. False: it did not happen.
    """

    def __init__(self, why: str, *, outcome_unknown: bool = False) -> None:
        self.outcome_unknown = outcome_unknown
        super().__init__(f"the node failed ({why}): close it and open the store again; what was promised is in it")


class ListenError(NsqliteError, OSError):
    """A listener that could not be started. Nothing was changed.

    Attributes:
        address: Where it was to listen.
    """

    def __init__(self, address: str, why: str) -> None:
        self.address = address
        port = "" if "/" in address else ", or port 0 for any free one"
        super().__init__(f"cannot listen on {address!r} ({why}): give another address{port}")


class ImportRefusedError(NsqliteError, OSError):
    """Files of nsqd that cannot be taken over. What was imported before is kept, and not imported again.

    Attributes:
        path: The file or folder.
    """

    def __init__(self, path: str, told: str) -> None:
        self.path = path
        super().__init__(told)


class StoreError(NsqliteError, OSError):
    """Something about the store on disk."""


class StorePathError(StoreError):
    """A path that cannot be a store."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"cannot use {path!r} as a store: {why}")


class StoreLockedError(StoreError):
    """A store that is open already.

    Attributes:
        path: The store.
        pid: The process that has it open, 0 if unknown.
    """

    def __init__(self, path: str, pid: int) -> None:
        self.path, self.pid = path, pid
        super().__init__(f"store {path!r} is open in process {pid}: share that node between threads, or close it first")


class StoreVersionError(StoreError):
    """A store whose format this version does not know."""

    def __init__(self, path: str, found: int, known: int) -> None:
        self.path, self.found, self.known = path, found, known
        super().__init__(
            f"store {path!r} has format {found}, this nsqlite knows up to {known}: install a newer nsqlite"
        )


class NetworkFilesystemError(StoreError):
    """A store on a filesystem whose locks and syncs cannot be trusted."""

    def __init__(self, path: str, filesystem: str) -> None:
        self.path, self.filesystem = path, filesystem
        super().__init__(
            f"{path!r} is on a network filesystem ({filesystem}): use a local disk, "
            f"or allow_network_filesystem=True at your own risk"
        )


class StoreDamagedError(StoreError):
    """A store that cannot be opened without the risk of losing more.

    Attributes:
        path: The store.
        why: What is wrong with it.
    """

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"store {path!r} is damaged: {why}; nothing was changed, restore it from a backup")


class DamagedRecordError(StoreError):
    """A stretch of messages that cannot be read back. Raised once; the next call goes on behind it.

    Attributes:
        topic: The topic's name.
        first_seq: Where the stretch begins in the topic's log.
        count: How many messages it had.
    """

    def __init__(self, topic: str, first_seq: int, count: int) -> None:
        self.topic, self.first_seq, self.count = topic, first_seq, count
        super().__init__(
            f"{count} message(s) of topic {topic!r} from seq {first_seq} are damaged on disk and are passed over: "
            f"run `nsqlite check` and look at the disk"
        )


class StoreFullError(StoreError):
    """No room for this publish; it did not happen. Finishing messages makes room.

    Attributes:
        why: What is full.
        needed_bytes: What there was no room for, 0 if that is not known.
    """

    def __init__(self, why: str, needed_bytes: int = 0) -> None:
        self.why = why
        self.needed_bytes = needed_bytes
        super().__init__(f"the store is full ({why}): nothing was published; finish messages or give it more room")


class StorageFailedError(StoreError):
    """The disk refused a write or a sync.

    Attributes:
        outcome_unknown: False: the publish did not happen and never will. True: it
            may appear after the store is opened again; the node publishes no more.
        why: What the system said.
        is_tried: Whether a byte of it may have been written.
    """

    def __init__(self, why: str, *, outcome_unknown: bool) -> None:
        self.outcome_unknown = outcome_unknown
        self.why = why
        self.is_tried = True
        told = (
            "whether this happened will show when the store is opened again; the node takes no more publishes"
            if outcome_unknown
            else "this did not happen and may be tried again"
        )
        super().__init__(f"storage failed ({why}): {told}")
