"""Requests that fail, come late, or are broken off, as an HTTP client meets it."""

from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected

import pytest

from nsqlite.testing import Clock, Nsqd
from tests.fakes.caller import Caller
from tests.fakes.clock import PATIENCE_SECONDS
from tests.testing.raw import Web


@pytest.fixture
def web(nsqd: Nsqd) -> Web:
    """An HTTP client of the test's nsqd."""
    return Web(nsqd)


def test_fail_next_refuses_a_request(nsqd: Nsqd, web: Web) -> None:
    """A request is refused with the status and the code that the test gives, once; nothing is published."""
    nsqd.fail_next("/pub", status=503, code="EXITING")

    assert web.post("/pub?topic=orders", b"7") == (503, b'{"message":"EXITING"}')
    assert web.post("/pub?topic=orders", b"8") == (200, b"OK")
    nsqd.assert_published("orders", bodies=[b"8"])


def test_fail_next_is_nsqds_error_unless_told(nsqd: Nsqd, web: Web) -> None:
    """Without a status and a code it is what nsqd says when something went wrong inside."""
    nsqd.fail_next("/topic/create")

    assert web.post("/topic/create?topic=orders") == (500, b'{"message":"INTERNAL_ERROR"}')


def test_fail_next_is_for_its_topic(nsqd: Nsqd, web: Web) -> None:
    """A fault of one topic passes by the others, and by a query that is none."""
    nsqd.fail_next("/pub", topic="mail", times=None)

    assert web.post("/pub?topic=orders", b"7")[0] == 200
    assert web.post("/pub?%zz", b"7")[0] == 400
    assert web.post("/pub?topic=mail", b"7")[0] == 500


@pytest.mark.parametrize("is_carried_out,count", [(True, 1), (False, 0)])
def test_drop_next_resets(nsqd: Nsqd, web: Web, is_carried_out: bool, count: int) -> None:
    """The connection is reset instead of an answer; the request was carried out, or not."""
    nsqd.drop_next("/pub", is_carried_out=is_carried_out)

    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        web.post("/pub?topic=orders", b"7")

    nsqd.assert_published("orders", count=count)


def test_half_send_next_ends_in_the_body(nsqd: Nsqd, web: Web) -> None:
    """The head is whole, and half of the body is missing."""
    nsqd.half_send_next("/pub")

    with pytest.raises(IncompleteRead) as caught:
        web.post("/pub?topic=orders", b"7")

    assert caught.value.partial == b"O"
    nsqd.assert_published("orders", count=1)


def test_half_send_next_ends_in_the_head_where_there_is_no_body(nsqd: Nsqd, web: Web) -> None:
    """An answer without a body ends in the middle of its head."""
    nsqd.half_send_next("/topic/create")

    with web.request("POST", "/topic/create?topic=orders") as response:
        assert response.status == 200
        assert response.getheader("Content-Length") is None


def test_delay_next_answers_by_the_clock(nsqd: Nsqd, nsq_clock: Clock, web: Web) -> None:
    """A slow request is carried out when its time has come."""
    nsqd.delay_next("/pub", 30)
    posting = Caller(lambda: web.post("/pub?topic=orders", b"7"))
    nsqd.wait_for_faults()
    nsqd.assert_published("orders", count=0)

    nsq_clock.advance(30)

    assert posting.outcome() == (200, b"OK")


def test_delayed_request_dies_with_the_node(nsqd: Nsqd, nsq_clock: Clock, web: Web) -> None:
    """A node that is killed carries nothing out, and hangs up."""
    nsqd.delay_next("/pub", 30)
    posting = Caller(lambda: web.post("/pub?topic=orders", b"7"))
    nsqd.wait_for_faults()

    nsqd.crash_and_restart()
    nsq_clock.advance(30)

    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        posting.outcome()
    nsqd.assert_published("orders", count=0)


def test_drop_connections_resets_http(nsqd: Nsqd) -> None:
    """A connection that is kept open for the next request is reset with all others."""
    connection = HTTPConnection(nsqd.http_address.host, nsqd.http_address.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/ping")
    assert connection.getresponse().read() == b"OK"
    assert connection.sock is not None

    nsqd.drop_connections()

    with pytest.raises(ConnectionResetError):
        connection.sock.recv(1)
    connection.close()
