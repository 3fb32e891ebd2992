"""The mailer on pynsq, unchanged, over TCP, against an nsqd in this process."""

import json
import urllib.request
from collections.abc import Callable

import pytest
from shop.mailer import Mailer
from shop.post import PostOffice

from nsqlite.testing import Clock, Nsqd

ORDER = json.dumps({"id": 7, "mail": "ann@example.org"}).encode()


def test_an_order_sends_a_mail(nsqd: Nsqd, mailer: Mailer, office: PostOffice) -> None:
    """A mail goes out at once, and a reminder is planned in half an hour."""
    nsqd.publish("orders", ORDER)

    nsqd.wait_for("orders", "mail", "finished")

    assert office.sent == [("ann@example.org", "Thank you for order 7.")]
    nsqd.assert_published("reminders", json={"id": 7, "mail": "ann@example.org"}, delay=1800)


def test_the_reminder_comes_half_an_hour_later(
    nsqd: Nsqd, nsq_clock: Clock, mailer: Mailer, office: PostOffice
) -> None:
    """The scheduled mail goes out when half an hour is over, and not before."""
    nsqd.publish("orders", ORDER)
    nsqd.wait_for("orders", "mail", "finished")
    nsq_clock.advance(1799)
    nsqd.assert_delivered("reminders", "mail", count=0)

    nsq_clock.advance(1)
    nsqd.wait_for("reminders", "mail", "finished")

    assert office.sent[1:] == [("ann@example.org", "How do you like order 7?")]
    nsqd.assert_empty()


def test_a_closed_office_is_tried_again(nsqd: Nsqd, nsq_clock: Clock, mailer: Mailer, office: PostOffice) -> None:
    """What fails is tried again a minute later, and two minutes after that."""
    office.is_open = False
    nsqd.publish("orders", ORDER)
    nsqd.wait_for("orders", "mail", "requeued")
    nsqd.assert_requeued("orders", "mail", delay=60)

    nsq_clock.advance(60)
    nsqd.wait_for("orders", "mail", "requeued", count=2)
    nsqd.assert_requeued("orders", "mail", delay=120)

    office.is_open = True
    nsq_clock.advance(120)
    nsqd.wait_for("orders", "mail", "finished")
    nsqd.assert_finished("orders", "mail", attempts=3)
    assert len(office.sent) == 1


def test_the_third_failure_is_a_dead_letter(nsqd: Nsqd, nsq_clock: Clock, mailer: Mailer, office: PostOffice) -> None:
    """After three attempts an order leaves its channel, and is kept in the dead letters."""
    office.is_open = False
    nsqd.publish("orders", ORDER)
    for count, seconds in ((1, 60), (2, 120)):
        nsqd.wait_for("orders", "mail", "requeued", count=count)
        nsq_clock.advance(seconds)

    nsqd.wait_for("orders", "mail", "finished")

    nsqd.assert_published("orders.dead", body=ORDER, count=1)
    nsqd.assert_published("reminders", count=0)
    nsqd.assert_empty()


def test_a_failure_holds_back_what_comes_next(nsqd: Nsqd, nsq_clock: Clock, mailer: Mailer, office: PostOffice) -> None:
    """pynsq backs off: it takes one message, and all others only once that one went well."""
    office.is_open = False
    nsqd.publish("orders", ORDER)
    nsqd.wait_for("orders", "mail", "requeued")

    office.is_open = True
    nsqd.publish_many("orders", [ORDER] * 3)
    nsqd.wait_for("orders", "mail", "finished", count=3)

    nsqd.assert_finished("orders", "mail", attempts=1, count=3)
    nsqd.assert_delivered("orders", "mail", attempts=2, count=0)


def test_a_refused_publish_is_tried_again(nsqd: Nsqd, nsq_clock: Clock, mailer: Mailer, office: PostOffice) -> None:
    """When nsqd refuses the reminder, the order comes again: one mail too many, and no reminder lost."""
    nsqd.fail_next("DPUB", code="E_DPUB_FAILED")
    nsqd.publish("orders", ORDER)
    nsqd.wait_for("orders", "mail", "requeued")
    nsqd.assert_published("reminders", count=0)

    nsq_clock.advance(60)
    nsqd.wait_for("orders", "mail", "finished")

    nsqd.assert_published("reminders", count=1)
    assert len(office.sent) == 2


@pytest.mark.nsq(durability="commit")
def test_a_killed_nsqd_forgets_no_reminder(nsqd: Nsqd, nsq_clock: Clock, start_mailer: Callable[[], Mailer]) -> None:
    """What was planned before nsqd was killed comes after it, to a mailer that was started again."""
    start_mailer()
    nsqd.publish("orders", ORDER)
    nsqd.wait_for("orders", "mail", "finished")

    nsqd.crash_and_restart()

    start_mailer()
    nsq_clock.advance(1800)
    nsqd.wait_for("reminders", "mail", "finished")


def test_orders_come_over_http(nsqd: Nsqd, mailer: Mailer, office: PostOffice) -> None:
    """The web shop publishes as it always does, by HTTP."""
    with urllib.request.urlopen(f"http://{nsqd.http_address}/pub?topic=orders", data=ORDER) as answer:
        assert answer.read() == b"OK"

    nsqd.wait_for("orders", "mail", "finished")

    assert len(office.sent) == 1
