"""Tests of who is shown."""

import socket

from nsqlite._version import __version__
from nsqlite.net.http_api.identity import version_line, who
from nsqlite.stats import ClientStats


def test_version_is_that_of_nsq_and_our_own() -> None:
    """NSQ's tools look at the first; people want to know the second."""
    assert version_line("nsqd") == f"nsqd v1.3.0 (built w/nsqlite {__version__})"


def test_client_is_who_it_says() -> None:
    """Whatever that is."""
    client = ClientStats("1", 0, 0, 0, 0, 0, hostname="h", user_agent="", remote_address="@")

    assert who(client) == ("h", "@", "")


def test_client_in_the_process_is_this_host() -> None:
    """It has no address, so it is here."""
    assert who(ClientStats("1", 0, 0, 0, 0, 0)) == (socket.gethostname(), "127.0.0.1:0", f"nsqlite/{__version__}")
