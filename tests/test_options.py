"""Options are checked when they are made, and say what they take."""

import math
from datetime import timedelta

import attrs
import pytest

from nsqlite.errors import InvalidDelayError, InvalidOptionError
from nsqlite.options import KIB, MIB, Options, default_node_id, seconds_to_ns

DEFAULTS = {
    "durability": None,
    "node_id": None,
    "mem_queue_size": 10_000,
    "msg_timeout": 60.0,
    "max_msg_timeout": 900.0,
    "max_msg_size": MIB,
    "max_batch_bytes": 64 * MIB,
    "max_body_size": 5 * MIB,
    "max_req_timeout": 3600.0,
    "max_rdy_count": 2500,
    "max_channel_consumers": 0,
    "cache_bytes": 32 * MIB,
    "max_store_bytes": None,
    "sync_interval": 0.2,
    "settle_interval": 1.0,
    "settle_bytes": 32 * MIB,
    "max_journal_bytes": 256 * MIB,
    "full_timeout": 10.0,
    "e2e_processing_latency_percentiles": (),
    "e2e_processing_latency_window_time": 600.0,
    "journal_writes": "auto",
    "allow_network_filesystem": False,
}
BAD = [
    ("durability", "safe"),
    ("durability", True),
    ("node_id", -1),
    ("node_id", 1024),
    ("node_id", "1"),
    ("mem_queue_size", -1),
    ("mem_queue_size", 1.0),
    ("mem_queue_size", True),
    ("msg_timeout", 0),
    ("msg_timeout", -1.0),
    ("msg_timeout", math.nan),
    ("msg_timeout", math.inf),
    ("msg_timeout", "60"),
    ("max_msg_timeout", 0.0),
    ("max_msg_timeout", 1e10),
    ("max_msg_size", 0),
    ("max_msg_size", (1 << 30) + 1),
    ("max_batch_bytes", 0),
    ("max_body_size", 0),
    ("max_req_timeout", -0.1),
    ("max_rdy_count", -1),
    ("max_channel_consumers", -1),
    ("max_channel_consumers", False),
    ("cache_bytes", -1),
    ("max_store_bytes", 4 * MIB - 1),
    ("max_store_bytes", 1e9),
    ("sync_interval", 0.0),
    ("settle_interval", 0.0),
    ("settle_bytes", 0),
    ("e2e_processing_latency_percentiles", (0.0,)),
    ("e2e_processing_latency_percentiles", (1.1,)),
    ("e2e_processing_latency_percentiles", ("0.9",)),
    ("e2e_processing_latency_percentiles", "0.9"),
    ("e2e_processing_latency_window_time", 0.0),
    ("max_journal_bytes", KIB),
    ("full_timeout", -1.0),
    ("full_timeout", math.inf),
    ("journal_writes", "fast"),
    ("allow_network_filesystem", 1),
]
EDGES = [
    ("durability", "commit"),
    ("node_id", 0),
    ("node_id", 1023),
    ("mem_queue_size", 0),
    ("msg_timeout", 0.001),
    ("msg_timeout", 900),
    ("max_msg_size", 1),
    ("max_store_bytes", 4 * MIB),
    ("max_journal_bytes", 4 * MIB),
    ("cache_bytes", 0),
    ("full_timeout", 0),
    ("e2e_processing_latency_percentiles", (1.0, 0.5)),
    ("journal_writes", "mapped"),
    ("allow_network_filesystem", True),
]


def test_options_have_nsqds_defaults() -> None:
    """Every option has the default that nsqd, or the design, gives it."""
    assert attrs.asdict(Options()) == DEFAULTS


@pytest.mark.parametrize("name, value", BAD)
def test_option_out_of_its_range_is_refused(name: str, value: object) -> None:
    """A value out of range or of the wrong type raises, naming option, value and what it takes."""
    with pytest.raises(InvalidOptionError, match=f"option {name}=.*give ") as caught:
        Options(**{name: value})

    assert caught.value.option == name
    assert caught.value.value is value


@pytest.mark.parametrize("name, value", EDGES)
def test_option_at_its_edge_is_taken(name: str, value: object) -> None:
    """The ends of a range belong to it."""
    assert getattr(Options(**{name: value}), name) == value


def test_msg_timeout_is_at_most_its_maximum() -> None:
    """A timeout above max_msg_timeout could never be touched; it is refused."""
    with pytest.raises(InvalidOptionError, match="max_msg_timeout"):
        Options(msg_timeout=10.0, max_msg_timeout=9.0)


def test_options_are_frozen() -> None:
    """A node's options do not change under it."""
    options = Options()

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        options.node_id = 3


def test_timeouts_are_nanoseconds_inside() -> None:
    """Float seconds at the border are int nanoseconds inside."""
    options = Options(msg_timeout=0.25, max_msg_timeout=2)

    assert (options.msg_timeout_ns, options.max_msg_timeout_ns) == (250_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    "value, nanoseconds",
    [
        (0, 0),
        (0.0, 0),
        (1, 1_000_000_000),
        (0.25, 250_000_000),
        (1e9, 10**18),
        (timedelta(minutes=1, milliseconds=5), 60_005_000_000),
    ],
)
def test_seconds_become_nanoseconds(value: object, nanoseconds: int) -> None:
    """Seconds are an int, a float or a timedelta."""
    assert seconds_to_ns(value) == nanoseconds


@pytest.mark.parametrize(
    "value", [-1, -0.001, math.nan, math.inf, -math.inf, 1e10, True, "5", None, b"5", timedelta(seconds=-1)]
)
def test_seconds_that_are_no_time_are_refused(value: object) -> None:
    """What is negative, not finite or no number of seconds raises InvalidDelayError."""
    with pytest.raises(InvalidDelayError, match="finite seconds from 0"):
        seconds_to_ns(value)


def test_default_node_id_is_in_range() -> None:
    """The host's default node id fits into ten bits, and is the same each time."""
    assert 0 <= default_node_id() <= 1023
    assert default_node_id() == default_node_id()
