"""What an nsqlookupd knows: registrations, and what hides them."""

import random

import pytest

from nsqlite.net.lookupd.registry import Producer, Registry, TooManyRegistrationsError

INACTIVE, TOMBSTONE = 300, 45


def registry(*, max_registrations: int = 1000, max_producer_registrations: int = 100) -> Registry:
    """One whose nanoseconds are small numbers."""
    return Registry(
        inactive_producer_timeout_ns=INACTIVE,
        tombstone_lifetime_ns=TOMBSTONE,
        max_registrations=max_registrations,
        max_producer_registrations=max_producer_registrations,
    )


def producer(of: Registry, port: int = 1, *, host: str = "b", now: int = 0) -> Producer:
    """One that has identified."""
    made = Producer(f"127.0.0.1:{port}", "h", host, port, port, "1.3.0")
    of.identify(made, now, 10_000 + now)
    return made


def keys(of: Registry) -> dict[str, list[int]]:
    """Everything there is: keys to the ports of their producers."""
    of.check()
    return {key: [each.tcp_port for each in producers] for key, producers in of.registrations() if key != "client::"}


def test_registering_a_channel_registers_its_topic() -> None:
    """REGISTER t c makes both keys, with the producer in each."""
    it = registry()

    it.register(producer(it), "t", "c")

    assert keys(it) == {"topic:t:": [1], "channel:t:c": [1]}
    assert it.topic_names() == ["t"]
    assert it.channel_names("t") == ["c"]


def test_names_that_nobody_has_are_not_there() -> None:
    """An unknown topic has no channels, and its producers are None rather than none."""
    it = registry()
    it.create("t")

    assert it.channel_names("other") == []
    assert it.lookup("other", 0) is None
    assert it.lookup("t", 0) == []
    assert it.lookup("*", 0) is None


def test_unregistering_a_channel_keeps_its_key() -> None:
    """So consumers still find the channel; an ephemeral one goes with its last producer."""
    it = registry()
    first, second = producer(it, 1), producer(it, 2)
    for each in (first, second):
        it.register(each, "t", "c")
        it.register(each, "t", "e#ephemeral")

    it.unregister(first, "t", "c")
    it.unregister(first, "t", "e#ephemeral")

    assert keys(it) == {"topic:t:": [1, 2], "channel:t:c": [2], "channel:t:e#ephemeral": [2]}

    it.unregister(second, "t", "c")
    it.unregister(second, "t", "e#ephemeral")

    assert keys(it) == {"topic:t:": [1, 2], "channel:t:c": []}


def test_unregistering_a_topic_leaves_its_channels() -> None:
    """UNREGISTER t takes the producer out of everything of t; the keys stay, but an ephemeral topic's own."""
    it = registry()
    one = producer(it)
    it.register(one, "t", "c")
    it.register(one, "e#ephemeral", "c")

    it.unregister(one, "t")
    it.unregister(one, "e#ephemeral")
    it.unregister(one, "never")

    assert keys(it) == {"topic:t:": [], "channel:t:c": [], "channel:e#ephemeral:c": []}


def test_lost_producer_leaves_all_keys() -> None:
    """A connection that closes takes its producer out of everything, and no key goes, ephemeral ones neither."""
    it = registry()
    one = producer(it)
    it.register(one, "t", "c#ephemeral")
    it.register(one, "u#ephemeral")

    it.forget(one)
    it.forget(one)

    assert keys(it) == {"topic:t:": [], "topic:u#ephemeral:": [], "channel:t:c#ephemeral": []}
    assert it.nodes(0) == []


def test_silence_hides_a_producer_until_it_is_heard() -> None:
    """Longer than the timeout without PING hides it from lookup and nodes; only PING brings it back."""
    it = registry()
    one = producer(it)
    it.register(one, "t")

    assert it.lookup("t", INACTIVE) == [one]
    assert it.lookup("t", INACTIVE + 1) == []
    assert it.nodes(INACTIVE + 1) == []

    it.register(one, "t")

    assert it.lookup("t", INACTIVE + 1) == []

    it.ping(one, INACTIVE + 1, 0)

    assert it.lookup("t", INACTIVE + 1) == [one]
    assert it.nodes(INACTIVE + 1) == [(one, {"t": False})]


def test_tombstone_hides_one_topic_of_a_producer() -> None:
    """While it is younger than its lifetime: hidden from lookup of that topic, flagged in nodes."""
    it = registry()
    one, other = producer(it, 1), producer(it, 2)
    for each in (one, other):
        it.register(each, "t")
        it.register(each, "u")

    it.tombstone("t", "b:1", 100, 0)

    assert it.lookup("t", 100) == [other]
    assert it.lookup("u", 100) == [one, other]
    assert it.nodes(100) == [(one, {"t": True, "u": False}), (other, {"t": False, "u": False})]
    assert it.lookup("t", 100 + TOMBSTONE - 1) == [other]
    assert it.lookup("t", 100 + TOMBSTONE) == [one, other]


def test_tombstone_ends_by_unregistering() -> None:
    """Registering again keeps it; unregistering and registering is a new beginning."""
    it = registry()
    one = producer(it)
    it.register(one, "t")
    it.tombstone("t", "b:1", 0, 0)
    it.tombstone("*", "b:1", 0, 0)
    it.tombstone("t", "b", 0, 0)

    it.register(one, "t")

    assert it.lookup("t", 0) == []

    it.unregister(one, "t")
    it.register(one, "t")

    assert it.lookup("t", 0) == [one]


def test_deleting_a_topic_takes_its_channels() -> None:
    """And its producers are no longer said to have it; `*` is no topic."""
    it = registry()
    one = producer(it)
    it.register(one, "t", "c")
    it.create("t", "d")
    it.create("u", "c")

    it.delete_topic("*")
    it.delete_topic("t")
    it.delete_topic("t")

    assert keys(it) == {"topic:u:": [], "channel:u:c": []}
    assert it.nodes(0) == [(one, {})]


def test_deleting_a_channel_says_whether_there_was_one() -> None:
    """The topic stays, and a producer may register the channel again."""
    it = registry()
    one = producer(it)
    it.register(one, "t", "c")

    assert it.delete_channel("t", "c")
    assert not it.delete_channel("t", "c")
    assert not it.delete_channel("never", "c")

    it.register(one, "t", "c")

    assert keys(it) == {"topic:t:": [1], "channel:t:c": [1]}


def test_full_registry_refuses_what_is_new() -> None:
    """Topics, channels and their producers count together; a refused registration changes nothing."""
    it = registry(max_registrations=4)
    one = producer(it)
    it.register(one, "t", "c")

    it.register(one, "t", "c")
    it.create("t", "c")
    with pytest.raises(TooManyRegistrationsError, match="max_registrations=4"):
        it.create("u")
    with pytest.raises(TooManyRegistrationsError):
        it.register(one, "t", "d")

    assert keys(it) == {"topic:t:": [1], "channel:t:c": [1]}

    it.delete_topic("t")
    it.register(one, "u", "c")

    assert keys(it) == {"topic:u:": [1], "channel:u:c": [1]}


def test_one_producer_has_its_own_limit() -> None:
    """It cannot take the room of the others."""
    it = registry(max_producer_registrations=3)
    one, other = producer(it, 1), producer(it, 2)
    it.register(one, "t", "c")

    with pytest.raises(TooManyRegistrationsError, match="max_producer_registrations=3"):
        it.register(one, "u", "c")
    it.register(one, "u")
    it.register(other, "u", "c")

    assert keys(it) == {"topic:t:": [1], "channel:t:c": [1], "topic:u:": [1, 2], "channel:u:c": [2]}


@pytest.mark.parametrize("seed", range(20))
def test_any_order_keeps_both_sides_alike(seed: int) -> None:
    """Whatever is said in whatever order, producers and keys agree, and nothing is left over."""
    draw = random.Random(seed)
    it = registry(max_registrations=40, max_producer_registrations=12)
    there: list[Producer] = []

    for step in range(300):
        topic = draw.choice(["a", "b", "c#ephemeral"])
        channel = draw.choice(["", "x", "y", "z#ephemeral"])
        try:
            match draw.randrange(9 if there else 2):
                case 0:
                    there.append(producer(it, step, now=step))
                case 1:
                    it.create(topic, channel)
                case 2:
                    it.delete_topic(topic)
                case 3:
                    it.delete_channel(topic, channel)
                case 4:
                    it.forget(there.pop(draw.randrange(len(there))))
                case 5:
                    it.tombstone(topic, draw.choice(there).node, step, step)
                case 6:
                    it.unregister(draw.choice(there), topic, channel)
                case _:
                    it.register(draw.choice(there), topic, channel)
        except TooManyRegistrationsError:
            pass
        it.check()

    for each in there:
        it.forget(each)
    for topic in [*it.topic_names(), "c#ephemeral"]:
        it.delete_topic(topic)
    assert keys(it) == {}
    assert it._count == 0
