"""A delivery is one hand-over: it begins with all of its messages in flight."""

from nsqlite.core.delivery import Delivery
from tests.fakes.cores import NOW_NS, make_run


def test_delivery_begins_with_all_in_flight() -> None:
    """Nothing of a new delivery is answered."""
    run = make_run(5, [b"a", b"b", b"c"])

    delivery = Delivery(run, 6, 2, 1, NOW_NS + 60, NOW_NS + 900, 60, None)

    assert (delivery.first_seq, delivery.count, delivery.remaining, delivery.attempts) == (6, 2, 2, 1)
    assert delivery.deadline_ns - NOW_NS == delivery.timeout_ns == 60
    assert delivery.limit_ns == NOW_NS + 900
    assert delivery.consumer is None
