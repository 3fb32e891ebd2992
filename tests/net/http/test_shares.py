"""Tests of what bodies hold together."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsqlite.net.http.shares import LINE_LENGTH, PIECE_BYTES, Share, Shares


class Body:
    """A body that grows by pieces; its first counts for nothing."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.share: Share = shares.begin(self._lose)
        self.pieces = 0
        self.task: asyncio.Task[None] | None = None

    def _lose(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def grow(self, pieces: int = 1) -> bool:
        """Let so much more of it come; whether there was room."""
        self.pieces += pieces
        self.task = asyncio.create_task(self.shares.hold(self.share, (1 + self.pieces) * PIECE_BYTES))
        await rounds()
        return self.task.done()

    def end(self) -> None:
        """Let it be used up."""
        self.shares.end(self.share)


async def rounds() -> None:
    """Let the loop do what it has to."""
    for _ in range(4):
        await asyncio.sleep(0)


def full(*, pieces: int = 4, idle_seconds: float = 0.0) -> Shares:
    """So many pieces to share."""
    return Shares(pieces * PIECE_BYTES, idle_seconds=idle_seconds)


async def test_first_piece_is_free() -> None:
    """Whoever sends no more is never in anybody's way, however many there are."""
    shares = full(pieces=0)

    await shares.hold(shares.begin(lambda: None), PIECE_BYTES)

    assert shares.held_bytes == 0


async def test_bodies_count_as_they_arrive() -> None:
    """By pieces, until they end."""
    shares = full()
    share = shares.begin(lambda: None)

    for size_bytes, held in ((PIECE_BYTES + 1, 1), (2 * PIECE_BYTES, 1), (2 * PIECE_BYTES + 1, 2)):
        await shares.hold(share, size_bytes)
        assert shares.held_bytes == held * PIECE_BYTES

    shares.end(share)

    assert shares.held_bytes == 0


async def test_first_in_line_passes_the_bound_alone() -> None:
    """When nothing is left one body may have more, the others wait until it ends."""
    shares = full(idle_seconds=1000)
    first, second, third = (Body(shares) for _ in range(3))
    assert await second.grow(2)
    assert await third.grow(2)

    assert await second.grow(3)
    assert not await third.grow()
    assert not await first.grow()
    assert shares.held_bytes == 7 * PIECE_BYTES

    second.end()
    await rounds()

    assert (first.task, third.task) != (None, None)
    assert [each.task is not None and each.task.done() for each in (first, third)] == [True, True]


async def test_who_began_first_is_served_first() -> None:
    """Whoever came to the line first."""
    shares = full(idle_seconds=1000)
    bodies = [Body(shares) for _ in range(4)]
    assert await bodies[3].grow(5)
    assert not await bodies[2].grow(4)
    assert not await bodies[1].grow(4)

    bodies[3].end()
    await rounds()

    assert [each.share.is_waiting for each in bodies] == [False, False, True, False]


async def test_idlest_loses_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """One after another, the one that has brought nothing for longest first; one line says so."""
    shares = full()
    idle = [Body(shares) for _ in range(3)]
    assert await idle[1].grow(2)
    assert await idle[0].grow(1)
    assert await idle[2].grow(1)
    body = Body(shares)
    passing = Body(shares)
    assert await passing.grow()
    idle[2].shares.settle(idle[2].share)  # it is whole

    with caplog.at_level(logging.WARNING, "nsqlite"):
        assert not await body.grow()
        assert [each.share.is_lost for each in idle] == [False, True, False]
        idle[1].end()
        await rounds()
        assert not body.share.is_waiting
        assert not await body.grow()

        assert [each.share.is_lost for each in idle] == [True, True, False]

    assert [record.event for record in caplog.records] == ["bodies_full"]  # type: ignore[attr-defined]


async def test_nobody_loses_its_place_at_once() -> None:
    """Before its time is up it is not idle, and who waits for a piece never is."""
    shares = full(idle_seconds=1000)
    bodies = [Body(shares) for _ in range(3)]
    for each in bodies:
        await each.grow(3)
    await rounds()

    assert not any(each.share.is_lost for each in bodies)

    shares._idle_seconds = 0.0
    shares._look_again()

    assert [each.share.is_lost for each in bodies] == [True, False, False]
    assert bodies[2].share.is_waiting


async def test_line_is_short() -> None:
    """If too many wait, whoever holds most of them makes room."""
    shares = full(idle_seconds=1000)
    passing, most, other = (Body(shares) for _ in range(3))
    assert [await most.grow(2), await other.grow(1), await passing.grow(2)] == [True] * 3
    waiting = [most, other, *(Body(shares) for _ in range(LINE_LENGTH - 2))]
    for each in waiting:
        assert not await each.grow()

    assert not any(each.share.is_lost for each in waiting)

    late = Body(shares)
    assert not await late.grow()

    assert [each for each in [*waiting, late] if each.share.is_lost] == [most]


async def test_who_gives_up_leaves_the_line() -> None:
    """Whoever stands behind comes up."""
    shares = full(idle_seconds=1000)
    holder, first, second = (Body(shares) for _ in range(3))
    assert await holder.grow(5)
    assert not await first.grow()
    assert not await second.grow()
    assert first.task is not None

    first.task.cancel()
    await rounds()
    first.end()
    holder.end()
    await rounds()

    assert second.task is not None
    assert second.task.done()
    assert shares.held_bytes == PIECE_BYTES


@given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.sampled_from(["grow", "end", "give up"]))))
def test_bound_holds_and_nobody_is_forgotten(steps: list[tuple[int, int, str]]) -> None:
    """Without its largest body what is held is never more than there is, and once others end each gets its own."""

    async def run() -> None:
        shares = full(pieces=6, idle_seconds=1000)
        bodies = [Body(shares) for _ in range(6)]
        for number, pieces, what in steps:
            body = bodies[number]
            is_stuck = body.task is not None and not body.task.done()
            if what == "grow" and not is_stuck:
                await body.grow(pieces)
            elif what != "grow" and (what == "give up" or not is_stuck):
                body._lose()
                await rounds()
                body.end()
                bodies[number] = Body(shares)
            await rounds()
            held = [each.share.held_bytes for each in bodies]
            assert shares.held_bytes == sum(held)
            assert sum(held) - max(held) <= shares.total_bytes
        for _ in range(len(bodies)):
            done = [each for each in bodies if each.task is None or each.task.done()]
            assert done or not bodies
            for each in done:
                each.end()
                bodies.remove(each)
            await rounds()
        assert (shares.held_bytes, bodies) == (0, [])

    asyncio.run(run())
