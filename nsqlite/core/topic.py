"""A topic: a log, and how far its channels may see into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nsqlite.core.channel import Channel
from nsqlite.core.latency import Latencies
from nsqlite.core.log import TopicLog
from nsqlite.core.progress import Progress
from nsqlite.names import is_ephemeral
from nsqlite.run import BODY_AT, OPEN_RUN_LIMIT, SPLIT_BYTES, AnyRun, OpenRun, Run
from nsqlite.seqset import BLOCK_BITS, SeqSet
from nsqlite.state import TopicState, pack_exception, unpack_exception


class Topic:
    """One topic.

    Attributes:
        log: The runs that are in memory.
        end: The next seq.
        routed: The seq up to which channels may see the log.
        stepped: Seqs that cursors step over: delayed, emptied or damaged; kept as far
            back as the last cursor.
        waiting: Delayed stretches that are not routed yet: first seq to (monotonic due
            time, exception with the wall time).
        is_flowing: Whether messages go to channels at once: it has some and is not paused.
        is_bounded: Whether a channel drops what it has no room for.
        hungry: Channels that have waiters.
        latencies: Makes what its channels measure latencies with; None if they do not.
    """

    channel_type: Callable[..., Channel] = Channel

    def __init__(self, number: int, name: str, mem_queue_size: int, latencies: Latencies | None = None) -> None:
        self.number = number
        self.name = name
        self.is_ephemeral = is_ephemeral(name)
        self.mem_queue_size = mem_queue_size
        self.latencies = latencies
        self.is_paused = False
        self.is_deleted = False
        self.is_flowing = False
        self.is_bounded = False
        self.log = TopicLog()
        self.tail: OpenRun | None = None
        self.end = 0
        self.routed = 0
        self.stepped = SeqSet()
        self.waiting: dict[int, tuple[int, int]] = {}
        self.channels: dict[str, Channel] = {}
        self.hungry: set[Channel] = set()
        self.message_count = 0
        self.message_bytes = 0
        self.dropped_count = 0

    @property
    def depth(self) -> int:
        """Messages that wait here for a first channel or an unpause."""
        return self.end - self.routed

    # -- publishing -----------------------------------------------------------------------

    def append_frame(self, frame: bytes, message_id: int) -> None:
        """Make one message that is not delayed part of the log, and route it.

        Hot: under 400 ns (benchmarks/commit_one.py). Consecutive ids share an open run.
        """
        tail = self.tail
        if (
            tail is not None
            and tail.first_id + tail.count == message_id
            and tail.count < OPEN_RUN_LIMIT
            and tail.size_bytes < SPLIT_BYTES
        ):
            tail.parts.append(frame)
            tail.count += 1
            tail.size_bytes += len(frame)
        else:
            self.tail = tail = OpenRun(self.end, message_id, frame)
            self.log.append(tail)
        self.end += 1
        self.message_count += 1
        self.message_bytes += len(frame) - BODY_AT
        if self.is_flowing:
            if self.is_bounded:
                self.route()
            else:
                self.routed = self.end

    def append_run(self, run: Run, due_ns: int) -> None:
        """Make a run part of the log, and route it. `due_ns` is monotonic; 0 if not delayed."""
        self.tail = None
        self.log.append(run)
        self.end += run.count
        self.message_count += run.count
        self.message_bytes += run.size_bytes - BODY_AT * run.count
        if run.due_ns:
            self.stepped.add_range(run.first_seq, self.end)
            self.waiting[run.first_seq] = (due_ns, pack_exception(run.due_ns, run.first_seq, run.count, 0))
        if self.is_flowing:
            self.route()

    def adopt(self, run: Run, owner: Channel | None) -> None:
        """Make what was accepted elsewhere part of the log; no counter of publishes counts it.

        All channels step over it if it has an owner, to which the caller then gives it.
        """
        self.tail = None
        self.log.append(run)
        self.end += run.count
        if owner is None:
            self.route()
            return
        assert self.routed == run.first_seq
        self.step_over(run.first_seq, self.end)
        self.routed = self.end

    def room(self, end: int) -> int | None:
        """How many more messages may wait from seq `end` on in an ephemeral topic; None for any number."""
        if not self.is_ephemeral or self.is_flowing:
            return None
        return max(0, self.mem_queue_size - (end - self.routed))

    # -- routing --------------------------------------------------------------------------

    def route(self) -> None:
        """Let the channels see the log up to its end, unless paused or without channels."""
        if not self.is_flowing:
            return
        start, stop = self.routed, self.end
        self.routed = stop
        stepped = self.stepped.count_range(start, stop)
        if self.waiting:
            waiting, self.waiting = self.waiting, {}
            for due_ns, packed in waiting.values():
                due_wall_ns, seq, count, attempts = unpack_exception(packed)
                run = self.log.find(seq)
                for channel in self.channels.values():
                    channel.defer(due_ns, due_wall_ns, seq, count, attempts)
                    if channel.is_volatile and run is not None:
                        channel.kept.update(dict.fromkeys(range(seq, seq + count), run))
        if stepped or self.is_bounded:
            for channel in self.channels.values():
                channel.route(start, stop, stepped, self.mem_queue_size)

    def _flow(self) -> None:
        self.is_flowing = bool(self.channels) and not self.is_paused
        self.is_bounded = any(channel.is_bounded for channel in self.channels.values())
        self.route()

    # -- administration -------------------------------------------------------------------

    def add_channel(self, number: int, name: str, start: int, progress: list[Progress] | None) -> Channel:
        """Make a channel that starts at seq `start`."""
        return self.add_channels([(number, name)], start, progress)[0]

    def add_channels(
        self, named: Sequence[tuple[int, str]], start: int, progress: list[Progress] | None
    ) -> list[Channel]:
        """Make channels, by number and name, that all start at seq `start`; what waits here is routed to all."""
        made = [self.channel_type(self, number, name, start, progress) for number, name in named]
        for channel in made:
            if channel.is_volatile:
                channel.progress = None
            self.channels[channel.name] = channel
        self._flow()
        return made

    def remove_channel(self, name: str) -> Channel:
        """Take a channel away with all it owes."""
        channel = self.channels.pop(name)
        channel.empty()
        channel.is_deleted = True
        self.hungry.discard(channel)
        self._flow()
        return channel

    def pause(self, *, is_paused: bool) -> None:
        """Stop routing, or go on with it."""
        self.is_paused = is_paused
        self._flow()

    def empty(self) -> None:
        """Drop what waits here. Channels are untouched."""
        self.step_over(self.routed, self.end)
        self.waiting.clear()
        self.routed = self.end
        self.tail = None

    def step_over(self, start: int, stop: int) -> None:
        """Let cursors step over start..stop, which they have not been shown yet."""
        if any(channel.cursor < start for channel in self.channels.values()):
            self.stepped.add_range(start, stop)
        for channel in self.channels.values():
            channel.message_base += stop - start
            if channel.cursor == start:
                channel.cursor = stop
            else:
                channel.stepped_ahead += stop - start

    def pass_over(self, start: int, stop: int) -> None:
        """Give up a stretch that cannot be read back."""
        self.stepped.add_range(start, stop)
        for channel in self.channels.values():
            channel.pass_over(start, min(stop, self.routed))

    # -- state ----------------------------------------------------------------------------

    def lowest_cursor(self) -> int:
        """The seq before which no cursor stands."""
        return min((channel.cursor for channel in self.channels.values()), default=self.routed)

    def pinned_from(self) -> int | None:
        """The seq from which runs must stay in memory because no storage has them; None if none must."""
        cursors = [channel.cursor for channel in self.channels.values() if channel.is_volatile]
        if self.is_ephemeral:
            cursors.append(self.routed)
        return min(cursors, default=None)

    def prune(self) -> None:
        """Forget stepped stretches that every cursor has passed."""
        lowest = self.lowest_cursor() // BLOCK_BITS
        for block in [block for block in self.stepped.blocks if block < lowest]:
            del self.stepped.blocks[block]

    def snapshot(self) -> TopicState:
        """What a settlement writes of it; afterwards nothing counts as changed."""
        self.tail = None
        self.prune()
        durable = [channel for channel in self.channels.values() if not channel.is_volatile]
        return TopicState(
            number=self.number,
            name=self.name,
            end=self.end,
            routed=self.routed,
            is_paused=self.is_paused,
            stepped=self.stepped.copy(),
            waiting={first: packed for first, (_, packed) in self.waiting.items()},
            runs=self.log.unsettled(),
            channels={channel.number: channel.snapshot() for channel in durable},
        )

    def restore(self, state: TopicState, progress: list[Progress] | None, now_ns: int, wall_ns: int) -> None:
        """Become what was stored."""
        self.end, self.routed = state.end, state.routed
        self.is_paused = state.is_paused
        self.stepped = state.stepped
        self.log.settled_end = state.runs[0].first_seq if state.runs else state.end
        for run in state.runs:
            self.log.append(run)
        for first, packed in state.waiting.items():
            due_wall_ns = unpack_exception(packed)[0]
            self.waiting[first] = (max(now_ns, now_ns + due_wall_ns - wall_ns), packed)
        for each in state.channels.values():
            channel = self.channel_type(self, each.number, each.name, each.cursor, progress)
            channel.restore(each, now_ns, wall_ns)
            self.channels[channel.name] = channel
        self._flow()

    def loaded(self, runs: Iterable[AnyRun]) -> list[AnyRun]:
        """Take up runs that were read back; return what of them was not here."""
        return [part for run in runs for part in self.log.insert(run)]

    def check(self) -> None:
        """Assert the topic's invariants and those of its channels."""
        assert 0 <= self.routed <= self.end
        assert self.is_flowing == (bool(self.channels) and not self.is_paused)
        assert not self.is_flowing or self.routed == self.end
        assert self.log.settled_end <= self.end
        self.log.check()
        self.stepped.check()
        assert all(first >= self.routed for first in self.waiting)
        seq = self.log.settled_end
        for run in self.log.unsettled():
            assert run.first_seq == seq, "the unsettled log has a gap"
            seq += run.count
        assert seq == self.end
        for name, channel in self.channels.items():
            assert name == channel.name
            assert (channel in self.hungry) == bool(channel.waiters)
            channel.check()
