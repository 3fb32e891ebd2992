"""Options of a node: nsqd's names, ranges and defaults where nsqd has them."""

from __future__ import annotations

import hashlib
import math
import socket
import zlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, Literal, TypeVar

import attrs

from nsqlite.errors import InvalidDelayError, InvalidOptionError
from nsqlite.ids import MAX_NODE_ID

KIB: Final = 1024
MIB: Final = 1024 * KIB
SECOND_NS: Final = 1_000_000_000
MAX_SECONDS: Final = 1e9
Durability = Literal["fsync", "commit", "memory"]
_OptionsType = TypeVar("_OptionsType")
JournalWrites = Literal["auto", "mapped", "pwrite"]


def default_node_id() -> int:
    """nsqd's default: crc32 of the md5 of the host's name, modulo 1024."""
    name = socket.gethostname().encode()
    return zlib.crc32(hashlib.md5(name, usedforsecurity=False).digest()) % (MAX_NODE_ID + 1)


def seconds_to_ns(value: object, *, error: Callable[[object], Exception] = InvalidDelayError) -> int:
    """Finite, non-negative seconds or a timedelta as nanoseconds.

    Raises:
        InvalidDelayError: Or what `error` makes, for anything else.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise error(value)
    if not 0 <= value <= MAX_SECONDS:  # NaN fails both
        raise error(value)
    return int(value * SECOND_NS)


def integer(low: int, high: int | None = None) -> Callable[[Any, attrs.Attribute[int], int], None]:
    """A validator: an int, and no bool, from `low` to `high`."""

    def check(_: object, field: attrs.Attribute[int], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            wanted = f"give an int from {low}" + ("" if high is None else f" to {high}")
            raise InvalidOptionError(field.name, value, wanted)

    return check


def seconds(low: float) -> Callable[[Any, attrs.Attribute[float], float], None]:
    """A validator: finite seconds from `low` up."""

    def check(_: object, field: attrs.Attribute[float], value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InvalidOptionError(field.name, value, "give seconds as a float")
        if not low <= value <= MAX_SECONDS:
            raise InvalidOptionError(field.name, value, f"give seconds from {low} to {MAX_SECONDS:.0f}")

    return check


def as_tuple(value: object) -> object:
    """Any iterable of values as a tuple; one str is left for the validator to refuse."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _percentiles(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple) or not all(type(each) in (int, float) and 0 < each <= 1 for each in value):
        raise InvalidOptionError(field.name, value, "give several floats over 0.0 and at most 1.0, as a list")


def one_of(*allowed: str) -> Callable[[Any, attrs.Attribute[str], str], None]:
    """A validator: one of these words."""

    def check(_: object, field: attrs.Attribute[str], value: str) -> None:
        if value not in allowed:
            raise InvalidOptionError(field.name, value, "give one of " + ", ".join(map(repr, allowed)))

    return check


def boolean(_: object, field: attrs.Attribute[bool], value: bool) -> None:
    """A validator: True or False, and no other number."""
    if not isinstance(value, bool):
        raise InvalidOptionError(field.name, value, "give True or False")


def optional(check: Callable[..., None]) -> Callable[..., None]:
    """A validator: None, or what `check` takes."""

    def either(instance: object, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            check(instance, field, value)

    return either


def merged(kind: type[_OptionsType], given: _OptionsType | None, fields: dict[str, Any], *, name: str) -> _OptionsType:
    """Options of a kind, with single ones laid over those given all at once.

    Raises:
        InvalidOptionError: For what is no such option, or a value out of range.
    """
    if given is not None and not isinstance(given, kind):
        raise InvalidOptionError("options", given, f"give an {name}")
    known = {field.name for field in attrs.fields(kind)}  # type: ignore[arg-type]  # kinds are attrs classes
    for field, value in fields.items():
        if field not in known:
            raise InvalidOptionError(field, value, f"there is no such option; see {name}")
    return attrs.evolve(given if given is not None else kind(), **fields)  # type: ignore[misc]  # the same


@attrs.frozen(kw_only=True)
class Options:
    """How a node behaves. Times are seconds, sizes are bytes; checked when made.

    Attributes:
        durability: What `publish` waits for: "fsync", "commit" or "memory" (see README).
            None: "fsync" with a path, "memory" without.
        node_id: 0 to 1023, the upper bits of message ids. None: the store's own, for a
            new store nsqd's default for this host.
        mem_queue_size: Messages that may wait in an ephemeral topic or channel; more
            are dropped and counted.
        msg_timeout: Seconds until an unanswered message is delivered again.
        max_msg_timeout: Seconds that `touch` can stretch one delivery to.
        max_msg_size: Bytes of one body.
        max_batch_bytes: Bytes of one `publish_many`'s bodies.
        max_body_size: Bytes of a command's body on the wire.
        max_req_timeout: Seconds of delay a client on the wire may ask for; none in the process.
        max_rdy_count: Highest RDY on the wire.
        max_channel_consumers: Consumers on one channel, 0 for any number.
        cache_bytes: Settled messages that stay in memory.
        max_store_bytes: Bytes of LMDB, journal and reserve together (of messages held,
            at "memory"); None for no limit.
        sync_interval: Seconds between syncs of the journal at "commit".
        settle_interval: Seconds until what was promised goes from the journal to LMDB.
        settle_bytes: Bytes of journal that begin a settlement at once.
        max_journal_bytes: Bytes of journal at which publishing waits for a settlement.
        full_timeout: Seconds that publishing waits for room before StoreFullError.
        journal_writes: "mapped" copies into mapped segments, "pwrite" uses system calls,
            "auto" chooses by durability and filesystem.
        e2e_processing_latency_percentiles: Which percentiles of the time from publish to finish
            are kept, each over 0.0 and at most 1.0; none costs nothing.
        e2e_processing_latency_window_time: Seconds that they look back, at most.
        allow_network_filesystem: Open a store where locks and syncs cannot be trusted.

    Raises:
        InvalidOptionError: Naming the option and what it takes.
    """

    durability: Durability | None = attrs.field(default=None, validator=optional(one_of("fsync", "commit", "memory")))
    node_id: int | None = attrs.field(default=None, validator=optional(integer(0, MAX_NODE_ID)))
    mem_queue_size: int = attrs.field(default=10_000, validator=integer(0))
    msg_timeout: float = attrs.field(default=60.0, validator=seconds(0.001))
    max_msg_timeout: float = attrs.field(default=900.0, validator=seconds(0.001))
    max_msg_size: int = attrs.field(default=MIB, validator=integer(1, 1 << 30))
    max_batch_bytes: int = attrs.field(default=64 * MIB, validator=integer(1, 1 << 30))
    max_body_size: int = attrs.field(default=5 * MIB, validator=integer(1, 1 << 30))
    max_req_timeout: float = attrs.field(default=3600.0, validator=seconds(0.0))
    max_rdy_count: int = attrs.field(default=2500, validator=integer(0))
    max_channel_consumers: int = attrs.field(default=0, validator=integer(0))
    cache_bytes: int = attrs.field(default=32 * MIB, validator=integer(0))
    max_store_bytes: int | None = attrs.field(default=None, validator=optional(integer(4 * MIB)))
    sync_interval: float = attrs.field(default=0.2, validator=seconds(0.001))
    settle_interval: float = attrs.field(default=1.0, validator=seconds(0.001))
    settle_bytes: int = attrs.field(default=32 * MIB, validator=integer(1))
    max_journal_bytes: int = attrs.field(default=256 * MIB, validator=integer(4 * MIB))
    full_timeout: float = attrs.field(default=10.0, validator=seconds(0.0))
    e2e_processing_latency_percentiles: tuple[float, ...] = attrs.field(
        default=(), converter=as_tuple, validator=_percentiles
    )
    e2e_processing_latency_window_time: float = attrs.field(default=600.0, validator=seconds(0.001))
    journal_writes: JournalWrites = attrs.field(default="auto", validator=one_of("auto", "mapped", "pwrite"))
    allow_network_filesystem: bool = attrs.field(default=False, validator=boolean)

    def __attrs_post_init__(self) -> None:
        """Check what concerns two options."""
        if self.msg_timeout > self.max_msg_timeout:
            raise InvalidOptionError("msg_timeout", self.msg_timeout, "give no more than max_msg_timeout")

    @property
    def msg_timeout_ns(self) -> int:
        """`msg_timeout` in nanoseconds."""
        return int(self.msg_timeout * SECOND_NS)

    @property
    def max_msg_timeout_ns(self) -> int:
        """`max_msg_timeout` in nanoseconds."""
        return int(self.max_msg_timeout * SECOND_NS)
