import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nsqlite
from nsqlite.run import build_run
from nsqlite.seqset import SeqSet
from nsqlite.state import ChannelState, NodeState, TopicState, pack_exception
from nsqlite.storage import layout
from nsqlite.storage.check import Audit, audit, state_faults, uncovered
from nsqlite.storage.journal import RECORD_HEAD, SEGMENT_HEAD
from nsqlite.storage.place import Claim
from tests.storage.stores import (
    COUNT,
    closed_store,
    contents,
    fill,
    flip,
    flip_in_body,
    killed_store,
    tables,
)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store, for tests that only look."""
    return closed_store(tmp_path_factory.mktemp("closed") / "store")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A killed store, for tests that only look."""
    return killed_store(tmp_path_factory.mktemp("killed") / "store")


@pytest.fixture
def store(closed: Path, tmp_path: Path) -> Path:
    """A copy of the closed store, to do harm to."""
    return Path(shutil.copytree(closed, tmp_path / "store"))


@pytest.fixture
def killed_copy(killed: Path, tmp_path: Path) -> Path:
    """A copy of the killed store, to do harm to."""
    return Path(shutil.copytree(killed, tmp_path / "killed"))


def told(path: Path) -> list[str]:
    """The faults of a store, as the command prints them."""
    return [str(fault) for fault in audit(str(path)).faults]


# -- sound stores --------------------------------------------------------------------------


def test_closed_store_is_sound(closed: Path) -> None:
    """A closed store has no fault, all its messages in rows, and no journal."""
    found = audit(str(closed))

    assert found == Audit(topic_count=2, row_count=found.row_count, message_count=COUNT + 3)
    assert found.is_sound
    assert found.row_count > 3


def test_killed_store_is_sound(killed: Path) -> None:
    """What only the journal has counts."""
    found = audit(str(killed))

    assert found.is_sound
    assert found.notes == []
    assert (found.topic_count, found.message_count) == (2, 0)
    assert found.record_count > 5


def test_half_settled_store_is_sound(tmp_path: Path) -> None:
    """What LMDB has and what the journal adds fit together."""
    with nsqlite.open(tmp_path / "origin", durability="commit", settle_interval=1000.0) as node:
        fill(node)
        node.engine.background.settle_now()
        fill(node)
        node.delete_topic("lonely")
        node.sync()
        shutil.copytree(tmp_path / "origin", tmp_path / "store")

    found = audit(str(tmp_path / "store"))

    assert found.is_sound
    assert found.message_count == COUNT + 3
    assert found.record_count > 0


def test_new_store_is_sound(tmp_path: Path) -> None:
    """A store in which nothing happened has no fault."""
    nsqlite.open(tmp_path / "store").close()

    assert audit(str(tmp_path / "store")) == Audit()


@pytest.mark.parametrize("kind", ["closed", "killed"])
def test_audit_writes_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    """No file changes, none is made, and no folder is touched."""
    path = request.getfixturevalue(kind)
    before = contents(path)

    audit(str(path))

    assert contents(path) == before


def test_audit_works_where_it_may_not_write(store: Path) -> None:
    """Files and folders that may only be read are enough."""
    for folder, _, names in os.walk(store):
        for name in names:
            (Path(folder) / name).chmod(0o400)
        Path(folder).chmod(0o500)
    try:
        assert audit(str(store)).is_sound
    finally:
        for folder, _, _ in os.walk(store):
            Path(folder).chmod(0o700)


def test_audit_refuses_a_store_in_use(tmp_path: Path) -> None:
    """An open store is refused with the pid of who has it."""
    with nsqlite.open(tmp_path / "store"), pytest.raises(nsqlite.StoreLockedError) as refused:
        audit(str(tmp_path / "store"))

    assert refused.value.pid == os.getpid()


def test_audit_lets_go_of_the_store(store: Path) -> None:
    """After an audit, of a damaged store too, it can be claimed again."""
    (store / "lmdb" / "data.mdb").write_bytes(b"")

    audit(str(store))

    Claim(str(store)).release()


def test_newer_format_is_refused(store: Path) -> None:
    """What a later version wrote is not judged."""
    with tables(store) as behind:
        behind.put("meta", b"format", (99).to_bytes(8, "little"))

    with pytest.raises(nsqlite.StoreVersionError):
        audit(str(store))


# -- damaged files -------------------------------------------------------------------------


def test_flipped_bit_names_the_row(store: Path) -> None:
    """One bit of one body makes one fault, with the topic and the row's place in its log."""
    flip_in_body(store, 599)

    (fault,) = told(store)

    assert fault.startswith("topic 'orders': the row at seq ")
    assert " is damaged: " in fault
    assert "599" in fault


def test_two_damaged_rows_are_two_faults(store: Path) -> None:
    """Each damaged row is named, and does not hide the next."""
    flip_in_body(store, 0)
    flip_in_body(store, 599)

    assert len(told(store)) == 2


def test_truncated_file_is_one_fault(store: Path) -> None:
    """A file cut short is named before anything is read."""
    os.truncate(store / "lmdb" / "data.mdb", 3 * 4096 + 100)

    (fault,) = told(store)

    assert fault.startswith("store: data.mdb has 12388 bytes")
    assert fault.endswith("it was truncated")


def test_empty_file_is_one_fault(store: Path) -> None:
    """A file cut to nothing is named."""
    os.truncate(store / "lmdb" / "data.mdb", 0)

    assert told(store) == ["store: data.mdb is empty"]


def test_foreign_file_is_one_fault(store: Path) -> None:
    """A file that is none of LMDB's is named."""
    (store / "lmdb" / "data.mdb").write_bytes(b"not lmdb's" * 1000)

    (fault,) = told(store)

    assert fault.startswith("store: LMDB cannot ")


# -- rows that do not fit ------------------------------------------------------------------


def first_row(behind: Any, name: str) -> tuple[bytes, bytes]:
    """The first log row of a topic."""
    (number,) = (key for key, value in behind.rows("topics") if value.endswith(name.encode()))
    return next((key, value) for key, value in behind.rows("log") if key[:4] == number)


def test_row_that_is_gone_is_owed(store: Path) -> None:
    """Messages that somebody is owed and no row holds are named."""
    with tables(store) as behind:
        key, value = first_row(behind, "orders")
        behind.delete("log", key)
        runs = layout.unpack_row(key, value)
    last = runs[-1].first_seq + runs[-1].count - 1

    assert told(store) == [f"topic 'orders': the messages at seqs 0 to {last}: owed, but nothing holds it"]


def test_row_that_nobody_owns_is_a_fault(store: Path) -> None:
    """A row of which every channel has finished all is named."""
    with tables(store) as behind:
        for key, value in behind.rows("channels"):
            channel = layout.unpack_channel(0, value)
            channel.cursor = COUNT
            channel.in_flight = SeqSet()
            behind.put("channels", key, layout.pack_channel(channel))
        for key, _ in behind.rows("exceptions"):
            if key[4:8] != bytes(4):
                behind.delete("exceptions", key)

    faults = told(store)

    assert len(faults) >= 3
    assert all(fault.startswith("topic 'orders': nobody is owed anything of the row at seq ") for fault in faults)


def test_orphan_rows_are_faults(store: Path) -> None:
    """Rows of a topic or channel that does not exist are named, once for each."""
    with tables(store) as behind:
        _, log_row = first_row(behind, "orders")
        _, channel_row = behind.rows("channels")[0]
        packed = pack_exception(0, 7, 1, 2).to_bytes(layout.EXCEPTION_BYTES, "big")
        for seq in (1, 2):
            behind.put("log", layout.LOG_KEY.pack(77, seq), log_row)
            behind.put("stepped", layout.STEPPED_KEY.pack(77, seq), layout.pack_block(1))
        behind.put("channels", layout.CHANNEL_KEY.pack(77, 78), channel_row)
        behind.put("exceptions", layout.EXCEPTION_KEY.pack(1, 99, 7), packed)

    faults = told(store)

    assert sorted(faults) == [
        "channels: has rows of topic number 77, which does not exist",
        "exceptions: has rows of channel number 99 of topic 'orders', which does not exist",
        "log: has rows of topic number 77, which does not exist",
        "stepped: has rows of topic number 77, which does not exist",
    ]


def test_orphan_channel_does_not_open(store: Path) -> None:
    """What `check` names as an orphan, opening refuses as damage, not as a bug."""
    with tables(store) as behind:
        _, channel_row = behind.rows("channels")[0]
        behind.put("channels", layout.CHANNEL_KEY.pack(77, 78), channel_row)

    with pytest.raises(nsqlite.StoreDamagedError):
        nsqlite.open(store)


def test_overlapping_rows_are_a_fault(store: Path) -> None:
    """A message in two rows is named."""
    with tables(store) as behind:
        key, _ = first_row(behind, "orders")
        run = build_run(3, 1, [b"again"], 1, 0)
        again = key[:4] + (3).to_bytes(8, "big")
        behind.put("log", again, layout.pack_row(again, [run]))

    faults = told(store)

    assert any("the row at seq 3 overlaps the one before it" in fault for fault in faults)
    assert any("the ids of the row at seq 3 were given out before" in fault for fault in faults)


def test_row_behind_the_end_is_a_fault(store: Path) -> None:
    """A row with more messages than were published is named."""
    with tables(store) as behind:
        key, _ = first_row(behind, "orders")
        run = build_run(COUNT + 5, 1 << 53, [b"new"], 1, 0)
        new = key[:4] + (COUNT + 5).to_bytes(8, "big")
        behind.put("log", new, layout.pack_row(new, [run]))

    faults = told(store)

    assert any(f"reaches to {COUNT + 6}, behind the end at {COUNT}" in fault for fault in faults)
    assert any("above the last that was given out" in fault for fault in faults)


@pytest.mark.parametrize("table", ["topics", "channels", "exceptions", "stepped"])
def test_row_that_is_not_understood_is_a_fault(store: Path, table: str) -> None:
    """A row of no known shape is named by its table, and the audit goes on."""
    with tables(store) as behind:
        behind.put(table, b"\xff\xff\xff", b"?")

    assert any(fault.startswith(f"{table}: row ffffff cannot be understood") for fault in told(store))


def test_emptied_store_does_not_begin_anew(store: Path) -> None:
    """A store whose data were cut to nothing, or are gone, is refused, not taken for a new one."""
    data = store / "lmdb" / "data.mdb"
    data.write_bytes(b"")
    with pytest.raises(nsqlite.StoreDamagedError, match=r"data\.mdb is empty"):
        nsqlite.open(store)
    assert data.read_bytes() == b""

    data.unlink()
    with pytest.raises(nsqlite.StoreDamagedError, match=r"lmdb/data\.mdb is missing"):
        nsqlite.open(store)


def test_meta_row_that_is_missing_is_a_fault(store: Path) -> None:
    """A store that does not know how far it is settled is named."""
    with tables(store) as behind:
        behind.delete("meta", b"settled")

    assert told(store) == ["meta: settled missing"]


def test_meta_that_is_missing_is_a_fault(store: Path) -> None:
    """A store that was in use and knows nothing of itself is named."""
    with tables(store) as behind:
        for key, _ in behind.rows("meta"):
            behind.delete("meta", key)

    assert told(store) == ["meta: the store was in use, but data.mdb holds nothing"]
    with pytest.raises(nsqlite.StoreDamagedError, match="holds nothing"):
        nsqlite.open(store)


# -- the journal ---------------------------------------------------------------------------


def segment_of(path: Path) -> Path:
    """The one file of a killed store's journal."""
    (segment,) = (path / "journal").iterdir()
    return segment


def test_foreign_journal_is_a_fault(killed_copy: Path, store: Path) -> None:
    """A journal that belongs to another store is named."""
    shutil.copy(segment_of(killed_copy), store / "journal" / "000001-000001.seg")

    assert told(store) == ["store: journal file 000001-000001.seg belongs to another store"]


def test_torn_tail_is_normal(killed_copy: Path) -> None:
    """A last record that was not written whole is what a kill leaves, no fault."""
    segment = segment_of(killed_copy)
    flip(segment, len(segment.read_bytes().rstrip(b"\0")) - 1)

    found = audit(str(killed_copy))

    assert found.is_sound
    assert found.notes == []


def test_damage_inside_the_journal_is_noted(killed_copy: Path) -> None:
    """Whole records behind one that does not check may be a power failure's, or lost: they are noted."""
    count = audit(str(killed_copy)).record_count
    flip(segment_of(killed_copy), SEGMENT_HEAD.size + RECORD_HEAD.size)

    found = audit(str(killed_copy))

    assert found.is_sound
    assert found.record_count == 0
    (note,) = found.notes
    assert note.startswith(f"journal: {count - 1} whole records do not count, since record 1 before them")


def test_segments_of_one_number_are_a_fault(killed_copy: Path) -> None:
    """Two files that both claim to be the same segment are named."""
    segment = segment_of(killed_copy)
    shutil.copy(segment, segment.with_name("x.seg"))

    assert told(killed_copy) == [f"journal: {segment.name} and x.seg have one number"]


def test_rest_of_a_compaction_is_noted(store: Path) -> None:
    """What a compaction left that was broken off is no fault."""
    (store / "compacting").mkdir()

    found = audit(str(store))

    assert found.is_sound
    assert len(found.notes) == 1


# -- states, without a store ---------------------------------------------------------------


def sound_state() -> NodeState:
    """One topic of 100 messages, one channel half-way with one of everything."""
    channel = ChannelState(2, "billing", 50)
    channel.in_flight.add_range(10, 20)
    channel.excepted.add(30)
    channel.exceptions = [pack_exception(0, 30, 1, 2)]
    return NodeState(9, 1000, 3, {1: TopicState(1, "orders", 100, 100, channels={2: channel})})


def _break_routed(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    topic.routed = 101


def _break_cursor(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.cursor = 101


def _break_number(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.number = 1


def _break_next_number(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    state.next_number = 2


def _break_topic_name(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    topic.name = "or ders"


def _break_channel_name(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.name = "billing#ephemeral"


def _break_second_topic(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    state.next_number = 4
    state.topics[3] = TopicState(3, "orders")


def _break_second_channel(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    state.next_number = 4
    topic.channels[3] = ChannelState(3, "billing", 0)


def _break_in_flight(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.in_flight.add(60)


def _break_in_flight_twice(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.in_flight.add(30)


def _break_unrouted(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.in_flight.add(100)


def _break_exceptions(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    channel.exceptions = []


def _break_stepped(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    topic.stepped.add(100)


def _break_waiting(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    topic.waiting[70] = pack_exception(5, 70, 2, 0)


def _break_waiting_step(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    topic.end = 110
    topic.waiting[105] = pack_exception(5, 105, 2, 0)


def _break_waiting_time(state: NodeState, topic: TopicState, channel: ChannelState) -> None:
    topic.end = 110
    topic.stepped.add_range(105, 107)
    topic.waiting[105] = pack_exception(0, 105, 2, 0)


BREAKS = {
    _break_routed: "routed to seq 101, behind the end at 100",
    _break_cursor: "cursor at seq 101, behind what is routed, 100",
    _break_number: "number 1 belongs to topic 'orders' too",
    _break_next_number: "number 2 was never given out, the next one is 2",
    _break_topic_name: "no name for a topic on disk",
    _break_channel_name: "no name for a channel on disk",
    _break_second_topic: "two topics have this name",
    _break_second_channel: "two channels have this name",
    _break_in_flight: "the message at seq 60: in flight, but the cursor is at 50",
    _break_in_flight_twice: "seq 30 is in flight and an exception at once",
    _break_unrouted: "the message at seq 100: in flight, but not routed yet",
    _break_exceptions: "the exceptions are not those of the messages that have one",
    _break_stepped: "stretches to step over reach behind the end at 100",
    _break_waiting: "a delayed stretch, the messages at seqs 70 to 71, is not between routed and end",
    _break_waiting_step: "a delayed stretch, the messages at seqs 105 to 106, is not stepped over",
    _break_waiting_time: "the stretch at seq 105 waits for no time",
}


def test_sound_state_has_no_fault() -> None:
    """A state that fits together passes."""
    assert list(state_faults(sound_state())) == []


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda each: each.__name__)
def test_broken_state_is_named(break_it: Any) -> None:
    """Each thing that does not fit is one fault that says what."""
    state = sound_state()
    topic = state.topics[1]

    break_it(state, topic, topic.channels[2])

    assert [fault.what for fault in state_faults(state)] == [BREAKS[break_it]]


def test_delayed_messages_may_be_ahead_of_the_cursor() -> None:
    """What the cursor steps over may be deferred, or in flight, before it gets there."""
    state = sound_state()
    topic = state.topics[1]
    topic.stepped.add_range(60, 62)
    topic.channels[2].in_flight.add(60)
    topic.channels[2].excepted.add(61)
    topic.channels[2].exceptions.append(pack_exception(5, 61, 1, 0))

    assert list(state_faults(state)) == []


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6)


@given(spans, spans)
def test_uncovered_is_a_difference_of_sets(ranges: list[tuple[int, int]], covers: list[tuple[int, int]]) -> None:
    """What is left of ranges is what a set difference leaves."""
    covered = sorted((start, start + count) for start, count in covers)
    owed = [(start, start + count) for start, count in ranges]

    left = list(uncovered(owed, covered))

    wanted = {seq for start, stop in owed for seq in range(start, stop)}
    wanted -= {seq for start, stop in covered for seq in range(start, stop)}
    assert {seq for start, stop in left for seq in range(start, stop)} == wanted
    assert all(start < stop for start, stop in left)
