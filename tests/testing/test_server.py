"""A listener that is stopped, and one that is killed."""

import socket
from collections.abc import Iterator

import pytest

from nsqlite.errors import InvalidOptionError, ListenError
from nsqlite.net.options import ListenerOptions
from nsqlite.testing.faults import Faults
from nsqlite.testing.server import Server
from nsqlite.testing.subject import Subject
from tests.net.rig import OK, Client
from tests.testing.raw import identify, is_ended, is_reset, pub

ANYWHERE = ListenerOptions(tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", http_metrics=False, http_page="off")


@pytest.fixture
def subject() -> Iterator[Subject]:
    """A node under test."""
    made = Subject()
    yield made
    made.check()
    made.close()


def serve(subject: Subject, options: ListenerOptions = ANYWHERE) -> Server:
    """A listener of it."""
    return Server(subject.engine, options, Faults(subject.clock, 0, lambda: None))


def connect(server: Server) -> Client:
    """A client of that."""
    return Client((server.tcp_address.host, server.tcp_address.port))


def test_stop_answers_what_was_read(subject: Subject) -> None:
    """A listener that is stopped carries out what has arrived, answers it and hangs up in peace."""
    server = serve(subject)
    client = connect(server)
    client.send(pub("orders", b"7") * 3)
    server.thread.settle()

    server.stop(is_killed=False)

    assert [client.frame() for _ in range(3)] == [OK] * 3
    assert client.rest() == b""
    client.close()


def test_kill_ends_as_the_system_does(subject: Subject) -> None:
    """Connections of a listener that is killed end as those of a process that is gone, also those of HTTP."""
    server = serve(subject)
    client = connect(server)
    assert client.ask(b"NOP\n" + pub("orders", b"7")) == OK
    web = socket.create_connection((server.http_address.host, server.http_address.port))
    web.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    assert web.recv(15) == b"HTTP/1.1 200 OK"

    server.stop(is_killed=True)

    assert is_ended(client)
    assert list(iter(lambda: web.recv(1 << 16), b""))[-1].endswith(b"OK")
    client.close()
    web.close()


def test_reset_is_for_one_client(subject: Subject) -> None:
    """By its client_id, or the number of its connection; without either it is for all."""
    server = serve(subject)
    clients = [connect(server) for _ in range(3)]
    for number, client in enumerate(clients, 1):
        client.ask(identify(f"client-{number}"))

    server.reset("client-1")
    server.reset(2)

    assert [is_reset(each) for each in clients[:2]] == [True, True]
    assert clients[2].ask(pub("orders", b"7")) == OK

    server.reset()

    assert is_reset(clients[2])
    server.stop(is_killed=True)
    for each in clients:
        each.close()


def test_uvloop_is_reset_too(subject: Subject) -> None:
    """The loop is the one that the options want, and it makes no difference."""
    server = serve(subject, ListenerOptions(tcp_address="127.0.0.1:0", uvloop=True))
    client = connect(server)
    assert client.ask(pub("orders", b"7")) == OK

    server.reset()

    assert is_reset(client)
    server.stop(is_killed=False)
    client.close()


def test_addresses_are_of_what_is_served(subject: Subject) -> None:
    """What is not served has no address."""
    server = serve(subject, ListenerOptions(tcp_address="127.0.0.1:0"))

    assert server.tcp_address.port > 0
    assert (server.http_address, server.https_address) == ("", "")
    server.reset()
    server.stop(is_killed=True)


def test_server_that_cannot_begin_leaves_nothing(subject: Subject) -> None:
    """An address that is taken is an error, and no thread is left."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())

        with pytest.raises(ListenError):
            serve(subject, ListenerOptions(tcp_address=address))


def test_http_without_its_library_is_refused(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiohttp the error says what to install, as in a listener that is no test's."""
    monkeypatch.setitem(__import__("sys").modules, "nsqlite.testing.faulty_http", None)

    with pytest.raises(InvalidOptionError, match=r"install nsqlite\[net\]"):
        serve(subject)
