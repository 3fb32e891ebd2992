"""Tests of who may use an HTTP API."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from nsqlite.net.http.answers import HttpError, refusal
from nsqlite.net.http.guard import Guard, TlsOnly
from tests.net.http.rig import served

TOKEN = "s3cret-token"
HOST = "127.0.0.1:4151"
OWN = f"http://{HOST}"


class Request:
    """As much of a request as a guard looks at."""

    def __init__(self, method: str, headers: dict[str, str]) -> None:
        self.method = method
        self.headers = CIMultiDictProxy(CIMultiDict(headers))


def refused(guard: Guard, method: str = "GET", path: str = "/stats", **headers: str) -> str:
    """Why a request may not pass; "" if it may. A header's name has underscores."""
    request: Any = Request(method, {"Host": HOST} | {name.replace("_", "-"): each for name, each in headers.items()})
    try:
        guard.admit(request, path)
    except HttpError as error:
        return error.code
    return ""


# -- browsers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "DELETE"])
def test_programs_pass(method: str) -> None:
    """They have no Origin, whatever they call this server."""
    for host in (HOST, "any.example:4151", "", "::", "["):
        assert refused(Guard(), method, Host=host) == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_fetch_of_node_is_a_program(method: str) -> None:
    """It sends a language and a Sec-Fetch-Mode, and calls this server whatever its network does."""
    told = {"Host": "nsqd.internal:4151", "Accept_Language": "*", "Sec_Fetch_Mode": "cors"}

    assert refused(Guard(), method, User_Agent="node", **told) == ""
    assert refused(Guard(), method, User_Agent="Mozilla/5.0", **told) == "FOREIGN_HOST"
    assert refused(Guard(), method, User_Agent="node", **told | {"Accept_Language": "en"}) == "FOREIGN_HOST"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OWN},
        {"Origin": OWN, "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate"},
        {"Accept_Language": "de"},
        {"Origin": OWN.upper()},
        {"Origin": "https://localhost", "Host": "localhost"},
        {"Origin": "http://[::1]:4151", "Host": "[::1]:4151"},
    ],
)
def test_own_page_passes(method: str, headers: dict[str, str]) -> None:
    """With all that browsers say, and with the little that old ones say."""
    assert refused(Guard(), method, **headers) == ""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},  # another program of this very host
        {"Origin": "http://localhost:4151"},  # another name for it is another origin
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": HOST},
        {"Origin": f"file://{HOST}"},
        {"Origin": f"{OWN}.evil.example"},
        {"Origin": f"http://evil.example#{HOST}"},
        {"Origin": "http://["},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Origin": OWN},
        {"Sec_Fetch_Site": "nonsense"},
    ],
)
def test_page_of_another_site_does_not_pass(method: str, headers: dict[str, str]) -> None:
    """Neither to change something nor to read, which would cost time though its answer stayed unseen."""
    assert refused(Guard(), method, **headers) == "FOREIGN_ORIGIN"


def test_link_to_the_page_may_be_followed() -> None:
    """From any site; a form that is sent by one is no link."""
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}

    assert refused(Guard(), "GET", "/", **link) == ""
    assert refused(Guard(), "POST", "/pub", **link) == "FOREIGN_ORIGIN"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4151", "", "[", "localhost.evil.example", "a@b@c", "[::1"]
)
@pytest.mark.parametrize("mark", ["Origin", "Accept-Language", "Sec-Fetch-Site"])
def test_name_that_is_not_ours_is_refused_to_browsers(method: str, host: str, mark: str) -> None:
    """Somebody has led it here (DNS rebinding): then Origin and Host agree, and any page could read and change."""
    values = {"Origin": f"http://{host}", "Accept-Language": "en", "Sec-Fetch-Site": "same-origin"}

    assert refused(Guard(), method, Host=host, **{mark: values[mark]}) == "FOREIGN_HOST"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:4151",
        "localhost.",
        "127.0.0.1",
        "10.1.2.3:80",
        "[::1]",
        "[fe80::1]:4151",
        socket.gethostname(),
        "nsq.example:4151",
        "Queue.Example.",
    ],
)
def test_names_of_our_own_pass(host: str) -> None:
    """Numbers, localhost, the host's name and those that were given, in any case and with any port."""
    guard = Guard(hosts=("nsq.example", "queue.EXAMPLE"))

    assert refused(guard, "POST", Host=host, Origin=f"http://{host}") == ""


@given(origin=st.text(), host=st.text(), site=st.text())
def test_any_header_is_judged(origin: str, host: str, site: str) -> None:
    """Whatever they say, it is an answer and no failure; only our own origin changes anything."""
    code = refused(Guard(), "POST", Origin=origin, Host=host, Sec_Fetch_Site=site)

    assert code in ("", "FOREIGN_HOST", "FOREIGN_ORIGIN")
    if not code:
        assert site in ("same-origin", "none")
        assert origin.lower().split("://")[1] == host.lower()


# -- token ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}"])
def test_token_opens(shown: str) -> None:
    """The scheme is written in any case."""
    assert refused(Guard(token=TOKEN), Authorization=shown) == ""


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer x {TOKEN}",
        "Bearer \udcff",
        "Bearer é",
    ],
)
def test_anything_else_does_not(shown: str | None) -> None:
    """Nor does nothing; the answer says what is wanted, and not a letter of the token."""
    guard = Guard(token=TOKEN)
    headers = {} if shown is None else {"Authorization": shown}
    request: Any = Request("POST", headers)

    with pytest.raises(HttpError) as raised:
        guard.admit(request, "/pub")

    answer = refusal(raised.value)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert TOKEN not in f"{raised.value!r}{answer.body!r}{answer.headers!r}"


def test_some_paths_are_open() -> None:
    """Exactly those, whatever resembles them; pages of other sites do not pass there either."""
    guard = Guard(token=TOKEN, open_paths=("/ping", "/"))

    assert [refused(guard, path=path) for path in ("/ping", "/")] == ["", ""]
    assert {refused(guard, path=path) for path in ("/ping/", "/Ping", "//", "", "/pub", "/nope")} == {"UNAUTHORIZED"}
    assert refused(guard, "POST", "/ping", Origin="http://evil.example") == "FOREIGN_ORIGIN"


async def test_token_is_wanted_before_anything_is_told() -> None:
    """Not even which paths there are; with it they are there. No answer lets other sites read it."""
    async with served(guard=Guard(token=TOKEN, open_paths=("/hello",))) as server:
        shown = {"Authorization": f"Bearer {TOKEN}"}
        statuses = [
            (await server.call(method, path)).status
            for method, path in (
                ("POST", "/echo"),
                ("GET", "/nope"),
                ("OPTIONS", "/echo"),
                ("GET", "/echo"),
            )
        ]
        opened = await server.call("POST", "/echo", b"x", headers=shown)
        hello = await server.call("GET", "/hello", headers={"Origin": "http://127.0.0.1"})

    assert statuses == [401] * 4
    assert (opened.status, opened.body, hello.status) == (200, b"x", 200)
    assert not [name for name in (*opened.headers, *hello.headers) if name.startswith("access-control")]


# -- TLS --------------------------------------------------------------------------------------


async def test_plain_is_sent_to_tls() -> None:
    """Where TLS is required nothing else is told, and that as nsqd words it."""
    async with served(guard=TlsOnly(lambda: 4152)) as server:
        answers = [await server.call("GET", path) for path in ("/hello", "/nope", "/ping")]

    assert [each.status for each in answers] == [403] * 3
    assert answers[0].body == b'{"message": "TLS_REQUIRED", "https_port": 4152}'
    assert answers[0].headers["content-type"] == "application/json; charset=utf-8"
