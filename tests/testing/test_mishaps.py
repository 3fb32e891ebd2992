"""What a test may let go wrong, what it may not, and what it is told of it."""

from collections.abc import Callable

import pytest

from nsqlite.errors import InvalidOptionError
from nsqlite.testing import Nsqd, nsqd
from tests.net.client import attempts
from tests.net.rig import ERROR, OK
from tests.testing.raw import Connect, connecting, pub, subscribed


@pytest.mark.parametrize(
    "set_fault,wanted",
    [
        (lambda it: it.fail_next("PUBB"), "give one of IDENTIFY, AUTH, SUB, PUB, .*, /ping"),
        (lambda it: it.fail_next("/pup"), "give one of .*/pub, /mpub"),
        (lambda it: it.fail_next("MESSAGE"), "give one of"),
        (lambda it: it.fail_next("PUB", code="E_OOPS"), "give one of E_BAD_PROTOCOL, E_INVALID"),
        (lambda it: it.fail_next("PUB", code="E_FIN_FAILED"), "give one of E_BAD_PROTOCOL"),
        (lambda it: it.fail_next("PUB", times=0), "give 1 or more, or None"),
        (lambda it: it.fail_next("PUB", probability=0), "give more than 0"),
        (lambda it: it.fail_next("PUB", probability=1.5), "give more than 0"),
        (lambda it: it.fail_next("IDENTIFY", topic="orders"), "IDENTIFY is about no topic"),
        (lambda it: it.fail_next("/pub", client="shop"), "in HTTP nobody says who they are"),
        (lambda it: it.drop_next("DROP"), "give one of IDENTIFY.*MESSAGE"),
        (lambda it: it.half_send_next("FIN"), "give one of IDENTIFY, AUTH, SUB, PUB, MPUB, DPUB, CLS, MESSAGE"),
        (lambda it: it.delay_next("MESSAGE", 1), "give one of"),
        (lambda it: it.delay_next("PUB", -1), "give seconds"),
        (lambda it: it.delay_next("PUB", float("nan")), "give seconds"),
        (lambda it: it.duplicate_next(times=-1), "give 1 or more"),
        (lambda it: it.fail_next("PUB", status=503), 'PUB is not HTTP; give a code, as "E_PUB_FAILED", or a path'),
        (lambda it: it.fail_next("PUB", message=7), "give a str"),
        (lambda it: it.fail_next("/pub", code="E_PUB_FAILED"), 'give what nsqd says in HTTP, as "INTERNAL_ERROR"'),
        (lambda it: it.fail_next("/pub", code=503), "a number is the status"),
        (lambda it: it.fail_next("/pub", message="no"), "in HTTP the code is all"),
        (lambda it: it.fail_next("/pub", status=200), "give an int from 400 to 599"),
        (lambda it: it.fail_next("/pub", status="x"), "give an int from 400 to 599"),
        (lambda it: it.fail_next("PUB", times="x"), "give 1 or more, or None"),
        (lambda it: it.fail_next("PUB", times=1.5), "give 1 or more, or None"),
        (lambda it: it.fail_next("PUB", probability="x"), "give more than 0"),
        (lambda it: it.fail_next("PUB", topic="a b"), "give the name of a topic"),
        (lambda it: it.fail_next("PUB", client=1.5), "give a client_id, or the number"),
        (lambda it: it.delay_next("PUB", "x"), "give seconds"),
        (lambda it: it.delay_next("PUB", float("inf")), "give seconds"),
        (lambda it: it.duplicate_next("orders", "a b"), "give the name of a channel"),
    ],
)
def test_fault_that_could_never_strike_is_refused(nsqd: Nsqd, set_fault: Callable[[Nsqd], None], wanted: str) -> None:
    """A command, code or limit that there is not is an error that says what there is, and nothing is set."""
    with pytest.raises(InvalidOptionError, match=wanted):
        set_fault(nsqd)

    nsqd.assert_faults_met()


def test_paths_are_unknown_without_http() -> None:
    """Where HTTP is not served, no path is a command."""
    with nsqd(http_address="") as server, pytest.raises(InvalidOptionError, match="give one of IDENTIFY"):
        server.fail_next("/pub")


def test_assert_faults_met_names_those_that_met_nobody(nsqd: Nsqd, connect: Connect) -> None:
    """A fault that struck nobody is a mistake of the test; it reads which, and what was met instead."""
    nsqd.fail_next("PUB", topic="mail")
    nsqd.fail_next("NOP")
    connect().ask(b"NOP\n")

    with pytest.raises(AssertionError, match=r"PUB is to be refused .* 'mail' once") as caught:
        nsqd.assert_faults_met()

    assert "NOP was refused with E_INVALID" in str(caught.value)
    assert "NOP is to be" not in str(caught.value)


def test_assert_faults_met_says_when_nobody_met_any(nsqd: Nsqd) -> None:
    """Without any client the table says so."""
    nsqd.fail_next("PUB")

    with pytest.raises(AssertionError, match="nobody met any"):
        nsqd.wait_for_faults(timeout=0)


def test_faults_met_are_told_in_order(nsqd: Nsqd, connect: Connect) -> None:
    """Who met what is told."""
    nsqd.fail_next("PUB", code="E_BAD_TOPIC")
    nsqd.drop_next("SUB")
    connect().ask(pub("orders", b"7"))
    connect().send(b"SUB orders billing\n")

    nsqd.wait_for_faults()

    told = [
        (each.kind, each.place.command, each.place.topic, each.place.connection, each.code) for each in nsqd.faults_met
    ]
    assert told == [("fail", "PUB", "orders", 1, "E_BAD_TOPIC"), ("drop", "SUB", "orders", 2, "")]


def test_clear_faults_ends_all(nsqd: Nsqd, connect: Connect) -> None:
    """Afterwards everything goes well, and what was not met is not missed."""
    nsqd.fail_next("PUB", times=None)
    nsqd.fill_disk()
    nsqd.stop_heartbeats()

    nsqd.clear_faults()

    assert connect().ask(pub("orders", b"7")) == OK
    nsqd.assert_faults_met()


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_clear_faults_is_for_every_durability(durability: str) -> None:
    """Where no disk can be full, clearing is no error; filling is, and says why."""
    with nsqd(durability) as server:  # type: ignore[arg-type]
        server.clear_faults()

        with pytest.raises(InvalidOptionError, match='give "fsync" or "commit"'):
            server.fill_disk()


@pytest.mark.parametrize("is_new", [True, False])
def test_full_disk_refuses_publishes(nsqd: Nsqd, connect: Connect, is_new: bool) -> None:
    """Clients are refused, in topics that are there and in new ones; with room again they are not."""
    if not is_new:
        nsqd.node.topic("orders")
    nsqd.fill_disk()

    kind, data = connect().ask(pub("orders", b"7"))

    assert (kind, data.split()[0]) == (ERROR, b"E_PUB_FAILED")
    nsqd.free_disk()
    assert connect().ask(pub("orders", b"7")) == OK


def test_time_out_delivers_again_at_once(nsqd: Nsqd, connect: Connect) -> None:
    """What is in flight comes again at once, also to the consumer whose hands were full of it."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")
    client.message()

    nsqd.time_out("orders", "billing")

    assert attempts(client.frame()) == 2
    nsqd.assert_timed_out("orders", "billing", body=b"7", attempts=1, count=1)


def test_time_out_refuses_the_late_fin(nsqd: Nsqd, connect: Connect) -> None:
    """A consumer whose message timed out and is nobody's meanwhile reads E_FIN_FAILED."""
    client = subscribed(connect())
    nsqd.publish("orders", b"7")
    message_id, _ = client.message()
    client.send(b"RDY 0\n")

    nsqd.time_out("orders", "billing")

    kind, data = client.ask(b"FIN " + message_id + b"\n")
    assert (kind, data) == (ERROR, b"E_FIN_FAILED FIN " + message_id + b" failed ID not in flight")


def test_faults_outlive_a_crash() -> None:
    """What was asked for still strikes when the node has been started again."""
    with nsqd() as server, connecting(server) as connect:
        server.fail_next("PUB")

        server.crash_and_restart()

        assert connect().ask(pub("orders", b"7"))[0] == ERROR
