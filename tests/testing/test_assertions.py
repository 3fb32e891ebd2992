"""Claims about what happened: they hold when they should, and print what did happen when they do not."""

import json as json_library
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import nsqlite
from nsqlite.errors import InvalidOptionError
from nsqlite.testing.events import LOOK_SECONDS
from nsqlite.testing.nsq import Nsq
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS


@pytest.fixture
def queue() -> Iterator[Nsq]:
    """A node in which something has happened: see `story`."""
    made = Nsq(topics=["orders:billing"])
    story(made)
    yield made
    made.check()
    made.close()


def story(queue: Nsq) -> None:
    """A is finished at once, B at its second attempt, C is requeued with a delay, D times out, E is published later."""
    channel = queue.node.topic("orders").channel("billing")
    queue.publish_many("orders", [b'{"order": "A"}', b"B", b"C", b"D"])
    queue.publish("orders", b"E", delay=3600)
    first, second, third, fourth = (receive(channel) for _ in range(4))
    first.finish()
    second.requeue()
    receive(channel).finish()
    third.requeue(delay=90)
    fourth.touch()
    queue.clock.advance(60)


def receive(channel: nsqlite.Channel) -> nsqlite.Message:
    """The next message."""
    message = channel.receive(timeout=0)
    assert message is not None
    return message


HOLDING: list[Callable[[Nsq], None]] = [
    lambda queue: queue.assert_published("orders"),
    lambda queue: queue.assert_published("orders", count=5),
    lambda queue: queue.assert_published("orders", body=b"B", count=1),
    lambda queue: queue.assert_published("orders", json={"order": "A"}),
    lambda queue: queue.assert_published("orders", json=None, count=0),
    lambda queue: queue.assert_published("orders", where=lambda body: len(body) == 1, count=4),
    lambda queue: queue.assert_published("orders", delay=3600, count=1),
    lambda queue: queue.assert_published("orders", delay=0, count=4),
    lambda queue: queue.assert_published("orders", bodies=[b'{"order": "A"}', b"B", b"C", b"D", b"E"]),
    lambda queue: queue.assert_published("orders", delay=3600, bodies=iter([b"E"])),
    lambda queue: queue.assert_published("none", count=0),
    lambda queue: queue.assert_published("none", bodies=[]),
    lambda queue: queue.assert_delivered("orders", "billing", count=5),
    lambda queue: queue.assert_delivered("orders", "billing", attempts=2, bodies=[b"B"]),
    lambda queue: queue.assert_delivered("orders", "billing", json={"order": "A"}, attempts=1, count=1),
    lambda queue: queue.assert_delivered("orders", "other", count=0),
    lambda queue: queue.assert_finished("orders", "billing", bodies=[b'{"order": "A"}', b"B"]),
    lambda queue: queue.assert_finished("orders", "billing", body=b"B", attempts=2),
    lambda queue: queue.assert_finished("orders", "billing", where=lambda body: b"order" in body, count=1),
    lambda queue: queue.assert_requeued("orders", "billing", count=2),
    lambda queue: queue.assert_requeued("orders", "billing", body=b"C", delay=90, attempts=1),
    lambda queue: queue.assert_requeued("orders", "billing", delay=0, bodies=[b"B"]),
    lambda queue: queue.assert_touched("orders", "billing", body=b"D", count=1),
    lambda queue: queue.assert_timed_out("orders", "billing", body=b"D", attempts=1, count=1),
    lambda queue: queue.assert_published("orders", body=bytearray(b"B"), bodies=[memoryview(b"B")], count=1),
    lambda queue: queue.assert_published("orders", delay=timedelta(hours=1), bodies=(b"E",)),
    lambda queue: queue.assert_touched("orders", "billing", where=lambda body: body == b"D", attempts=1, bodies=[b"D"]),
    lambda queue: queue.assert_touched("orders", "billing", json={}, count=0),
    lambda queue: queue.assert_timed_out("orders", "billing", where=lambda body: body == b"D", bodies=[b"D"]),
    lambda queue: queue.assert_timed_out("orders", "billing", json={"order": "A"}, count=0),
]
FAILING: list[tuple[Callable[[Nsq], None], str]] = [
    (lambda queue: queue.assert_published("mail"), "no message was published in mail"),
    (lambda queue: queue.assert_published("orders", count=1), "5 messages were published in orders, not 1"),
    (
        lambda queue: queue.assert_published("orders", body=b"B", count=2),
        "1 message was published in orders with body 'B', not 2",
    ),
    (
        lambda queue: queue.assert_published("orders", json={"order": "B"}),
        "no message was published in orders that says {'order': 'B'}",
    ),
    (
        lambda queue: queue.assert_published("orders", where=is_long),
        "no message was published in orders where is_long holds",
    ),
    (
        lambda queue: queue.assert_published("orders", delay=1.5),
        "no message was published in orders with a delay of 1.5 s",
    ),
    (
        lambda queue: queue.assert_published("orders", bodies=[b"B", b"A"]),
        "not these, in this order, published in orders: 'B', 'A'",
    ),
    (
        lambda queue: queue.assert_finished("orders", "billing", bodies=[]),
        "not these, in this order, finished in orders:billing: none",
    ),
    (
        lambda queue: queue.assert_delivered("orders", "billing", attempts=3),
        "no message was delivered in orders:billing at attempt 3",
    ),
    (
        lambda queue: queue.assert_finished("orders", "billing", count=0),
        "2 messages were finished in orders:billing, not 0",
    ),
    (
        lambda queue: queue.assert_requeued("orders", "billing", body=b"C", attempts=2, delay=90),
        "no message was requeued in orders:billing with body 'C' at attempt 2 with a delay of 90 s",
    ),
    (lambda queue: queue.assert_touched("orders", "other"), "no message was touched in orders:other"),
    (
        lambda queue: queue.assert_timed_out("orders", "billing", count=2),
        "1 message was timed out in orders:billing, not 2",
    ),
    (lambda queue: queue.assert_empty(), "3 messages are not finished"),
    (lambda queue: queue.assert_empty("orders", "billing"), "3 messages are not finished"),
]


def is_long(body: bytes) -> bool:
    """Whether a body is."""
    return len(body) > 100


@pytest.mark.parametrize("claim", HOLDING)
def test_what_is_true_holds(queue: Nsq, claim: Callable[[Nsq], None]) -> None:
    """Bodies, JSON, predicates, order, attempts, delays and counts: all that is given has to fit."""
    claim(queue)


@pytest.mark.parametrize("claim,said", FAILING)
def test_what_is_not_true_says_so(queue: Nsq, claim: Callable[[Nsq], None], said: str) -> None:
    """In its first line, what was looked for; below, what happened."""
    with pytest.raises(AssertionError) as caught:
        claim(queue)

    assert str(caught.value).splitlines()[0] == said


def test_failing_claim_prints_what_happened(queue: Nsq) -> None:
    """The whole story with its times, and what each channel owes now."""
    with pytest.raises(AssertionError) as caught:
        queue.assert_published("mail", body=b"7", count=1)

    assert str(caught.value).splitlines() == [
        "no message was published in mail with body '7', not 1",
        "",
        "  TIME  EVENT      TOPIC   CHANNEL  ATTEMPTS  DELAY   BODY",
        '  0 s   published  orders                             \'{"order": "A"}\'',
        "  0 s   published  orders                             'B'",
        "  0 s   published  orders                             'C'",
        "  0 s   published  orders                             'D'",
        "  0 s   published  orders                     3600 s  'E'",
        '  0 s   delivered  orders  billing  1                 \'{"order": "A"}\'',
        "  0 s   delivered  orders  billing  1                 'B'",
        "  0 s   delivered  orders  billing  1                 'C'",
        "  0 s   delivered  orders  billing  1                 'D'",
        '  0 s   finished   orders  billing  1                 \'{"order": "A"}\'',
        "  0 s   requeued   orders  billing  1                 'B'",
        "  0 s   delivered  orders  billing  2                 'B'",
        "  0 s   finished   orders  billing  2                 'B'",
        "  0 s   requeued   orders  billing  1         90 s    'C'",
        "  0 s   touched    orders  billing  1                 'D'",
        "  60 s  timed out  orders  billing  1                 'D'",
        "",
        "  TOPIC   CHANNEL  WAITING  IN FLIGHT  DEFERRED",
        "  orders  billing  1        0          2",
    ]


def test_claim_sees_what_is_due_by_now() -> None:
    """A timeout that nobody has looked for has happened all the same."""
    queue = Nsq(topics=["orders:billing"])
    queue.publish("orders", b"x")
    queue.node.topic("orders").channel("billing").receive(timeout=0)

    queue.clock.advance(59.9)
    queue.assert_timed_out("orders", "billing", count=0)
    queue.clock.advance(0.1)
    queue.assert_timed_out("orders", "billing", count=1)
    queue.close()


@pytest.mark.parametrize("body", [b"\xff", b"{", b""])
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    """It fits no JSON, and raises nothing."""
    queue = Nsq()
    queue.publish("orders", body or b"''")

    queue.assert_published("orders", json={}, count=0)
    queue.close()


@pytest.mark.parametrize("json", [None, 0, False, [], {}, "", [1, {"a": None}]])
def test_any_json_can_be_looked_for(json: Any) -> None:
    """Those that are false or null, too."""
    queue = Nsq()
    queue.publish("orders", json_library.dumps(json).encode())

    queue.assert_published("orders", json=json, count=1)
    queue.close()


def test_messages_of_a_topic_without_channels_are_owed_to_nobody() -> None:
    """Publishing where nobody listens is not an unfinished job."""
    queue = Nsq()
    queue.publish("orders", b"x")

    queue.assert_empty()
    queue.node.topic("orders").channel("billing")
    with pytest.raises(AssertionError, match="1 message is not finished"):
        queue.assert_empty()
    queue.close()


def test_claims_hold_after_the_end() -> None:
    """Of a node that the code under test has closed, or a block that is over."""
    queue = Nsq(topics=["orders:billing"])
    queue.publish("orders", b"x")
    queue.node.close()
    queue.close()

    queue.assert_published("orders", count=1)
    with pytest.raises(AssertionError, match="1 message is not finished"):
        queue.assert_empty()


def test_claims_after_clear_are_about_what_came_later(queue: Nsq) -> None:
    """A test in two acts."""
    queue.history.clear()
    queue.publish("orders", b"F")

    queue.assert_published("orders", bodies=[b"F"])


def test_wait_for_what_has_happened_returns_at_once(queue: Nsq) -> None:
    """The first, or the one that is counted to."""
    assert queue.wait_for("orders").body == b'{"order": "A"}'
    assert queue.wait_for("orders", count=2, timeout=0).body == b"B"
    assert queue.wait_for("orders", "billing", "finished", body=b"B").attempts == 2
    assert queue.wait_for(kind="requeued", body=lambda body: body == b"C").delay == 90


def test_wait_for_what_is_to_come_ends_with_it(queue: Nsq) -> None:
    """Whoever makes it happen."""
    waiter = Caller(lambda: queue.wait_for("mail", count=2, timeout=PATIENCE_SECONDS))

    queue.publish("mail", b"1")
    queue.publish("mail", b"2")
    event = waiter.outcome()

    assert event is not None
    assert event.body == b"2"


def test_wait_for_what_is_due_sees_it_happen() -> None:
    """A timeout whose time has come, though nobody else looks for it."""
    queue = Nsq(topics=["orders:billing"])
    queue.publish("orders", b"x")
    queue.node.topic("orders").channel("billing").receive(timeout=0)
    queue.clock.advance(60)

    assert queue.wait_for("orders", "billing", "timed out").at == 60.0
    queue.close()


async def test_await_for_leaves_the_loop_to_others(queue: Nsq) -> None:
    """As `wait_for`, in a loop."""
    assert (await queue.await_for("orders", body=b"E")).delay == 3600


def test_wait_for_what_does_not_come_prints_what_did(queue: Nsq) -> None:
    """At its timeout, with the table."""
    with pytest.raises(AssertionError, match=re.escape("TIME  EVENT      TOPIC")) as caught:
        queue.wait_for("mail", body=b"7", timeout=LOOK_SECONDS)

    assert "published in mail with body '7'" in str(caught.value).split("\n", 1)[0]


def test_wait_for_an_unknown_kind_is_refused(queue: Nsq) -> None:
    """With those that there are."""
    with pytest.raises(InvalidOptionError, match="give one of published, delivered, finished"):
        queue.wait_for("orders", kind="fin")


@pytest.mark.parametrize(
    "claim,said",
    [
        (lambda queue: queue.assert_published("orders", body="B"), "it is a str: encode it first, or use json="),
        (lambda queue: queue.assert_published("orders", bodies=b"B"), "give a list of bytes"),
        (lambda queue: queue.assert_finished("orders", "billing", bodies=["B"]), "encode it first"),
        (lambda queue: queue.assert_published("orders", count=-1), "give an int from 0 up"),
        (lambda queue: queue.assert_published("orders", count=True), "give an int from 0 up"),
        (lambda queue: queue.assert_published(b"orders", count=0), "give its name as a str"),
        (lambda queue: queue.assert_empty(b"orders"), "give its name as a str"),
        (lambda queue: queue.wait_for(b"orders"), "give its name as a str"),
        (lambda queue: queue.wait_for("orders", body="B"), "encode it first"),
        (lambda queue: queue.wait_for("orders", count=0), "give an int from 1 up"),
    ],
)
def test_claim_that_nothing_could_match_is_refused(queue: Nsq, claim: Callable[[Nsq], None], said: str) -> None:
    """It would fail, or worse hold, for ever."""
    with pytest.raises(InvalidOptionError, match=re.escape(said)):
        claim(queue)


@pytest.mark.parametrize(
    "claim,said",
    [
        (
            lambda queue: queue.assert_published("orders", json={"order": "B"}),
            "the nearest differs at ['order']: 'B' is wanted, 'A' is found",
        ),
        (
            lambda queue: queue.assert_published("orders", body=b"E", delay=1, count=1),
            "the nearest has this body, with a delay of 3600 s",
        ),
        (
            lambda queue: queue.assert_finished("orders", "billing", bodies=[b'{"order": "A"}', b"C"]),
            "the first difference is at index 1, at byte 0: 'C' is wanted, 'B' is found",
        ),
    ],
)
def test_failing_claim_says_where_the_difference_is(queue: Nsq, claim: Callable[[Nsq], None], said: str) -> None:
    """In its second line; the table has bodies short."""
    with pytest.raises(AssertionError) as caught:
        claim(queue)

    assert str(caught.value).splitlines()[1] == said


@pytest.mark.parametrize(
    "names,said",
    [
        (("order", "billing"), "there is no channel order:billing; there is orders:billing"),
        (("orders", "none"), "there is no channel orders:none; there is orders:billing"),
        ((None, "none"), "there is no channel none; there is orders:billing"),
        (("order",), "there is no topic order; there is orders"),
    ],
)
def test_what_is_not_there_is_not_empty(queue: Nsq, names: tuple[str | None, ...], said: str) -> None:
    """A misspelt name would be, whatever the service does."""
    with pytest.raises(AssertionError, match=re.escape(said)):
        queue.assert_empty(*names)


def test_what_was_there_may_be_gone() -> None:
    """A channel that was deleted owes nothing; where there is nothing at all, that is said."""
    queue = Nsq(topics="orders:billing")
    queue.publish("orders", b"x")
    receive(queue.node.topic("orders").channel("billing")).finish()
    queue.node.delete_topic("orders")

    queue.assert_empty("orders", "billing")
    with pytest.raises(AssertionError, match="there is no channel orders:none; there is orders:billing"):
        queue.assert_empty("orders", "none")
    queue.history.clear()
    with pytest.raises(AssertionError, match="there are none"):
        queue.assert_empty("orders")
    queue.close()
