"""What happens to messages is told to the journal as results, in the order it happened."""

from nsqlite.core.progress import AGAIN, DEFERRED, FINISHED, HANDED, OWED
from nsqlite.storage import layout
from tests.fakes.cores import NOW_NS, SECOND, WALL_NS, make_channel, publish, take


def test_kinds_are_the_ones_the_journal_knows() -> None:
    """Each kind has a layout, and no promise has its number."""
    assert set(layout.PROGRESS) == {HANDED, AGAIN, FINISHED, DEFERRED, OWED}


def test_channel_tells_what_happens_in_order() -> None:
    """Handing out, requeueing, handing out again, deferring and finishing each leave their result."""
    channel = make_channel()
    publish(channel.topic, 3)

    first = take(channel, 3)[0]
    channel.finish(0, first)
    channel.requeue(1, first, 0, NOW_NS, WALL_NS)
    again = take(channel)[0]
    channel.requeue(1, again, SECOND, NOW_NS, WALL_NS)
    channel.finish(2, first)

    assert channel.progress == [
        (HANDED, 2, 0, 3),
        (FINISHED, 2, 0, 1),
        (AGAIN, 2, 1, 1, 2, 0),
        (DEFERRED, 2, 1, 2, WALL_NS + SECOND),
        (FINISHED, 2, 2, 1),
    ]


def test_ephemeral_channel_tells_nothing() -> None:
    """What keeps nothing on disk has no progress to write."""
    channel = make_channel("tail#ephemeral")
    publish(channel.topic, 1)

    channel.finish(0, take(channel)[0])

    assert channel.progress is None
