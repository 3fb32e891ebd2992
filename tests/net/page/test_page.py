"""The page's endpoints, over HTTP."""

import base64
import hashlib
import http.client
import json
import re

import pytest

from nsqlite.net.page.page import page
from tests.net.rig import Rig, rigged


def get(rig: Rig, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """One request to a listener."""
    connection = http.client.HTTPConnection(*rig.listener.http_address)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_page_is_one_document_that_loads_nothing() -> None:
    """No address but its own, no element that would fetch anything, no markup made by its script."""
    text = page()[0].decode()

    assert "{{" not in text
    assert set(re.findall(r"https?://[^\"'%)\s]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert re.findall(r"<(?:script|link|img|iframe|object|embed)[^>]*(?:src|href)=\"(?!data:)", text) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not re.search(r"\sstyle=|\son\w+=\"", text)


def test_policy_names_the_script_and_the_style() -> None:
    """By their hashes, so that nothing else runs, whatever a name of a client says."""
    body, headers = page()
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))

    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("mode", ["read-only", "read-write"])
def test_page_and_its_figures_are_served(mode: str) -> None:
    """At the root of the HTTP address, and below it."""
    with rigged(http_address="127.0.0.1:0", http_page=mode) as rig:
        rig.node.publish("orders", b"x")
        answer, body = get(rig, "/")
        data, figures = get(rig, "/page/data?topic=orders")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body == page()[0]
    assert (data.status, data.headers["Cache-Control"]) == (200, "no-store")
    assert json.loads(figures)["node"]["mode"] == mode


def test_page_may_be_off() -> None:
    """Then there is nothing, as at an nsqd."""
    with rigged(http_address="127.0.0.1:0", http_page="off") as rig:
        assert [get(rig, path)[0].status for path in ("/", "/page/data")] == [404, 404]


def test_page_is_only_read() -> None:
    """Nothing is posted to it."""
    with rigged(http_address="127.0.0.1:0") as rig:
        answers = [get(rig, path, "POST") for path in ("/", "/page/data")]

    assert [answer.status for answer, _ in answers] == [405, 405]


def test_figures_need_the_token() -> None:
    """The page itself does not: it asks for the token."""
    with rigged(http_address="127.0.0.1:0", http_token="secret") as rig:
        statuses = [
            get(rig, "/")[0].status,
            get(rig, "/page/data")[0].status,
            get(rig, "/page/data", Authorization="Bearer secret")[0].status,
        ]

    assert statuses == [200, 401, 200]


def test_bad_query_is_refused() -> None:
    """As all of nsqd's endpoints refuse it."""
    with rigged(http_address="127.0.0.1:0") as rig:
        answer, body = get(rig, "/page/data?topic=%zz")

    assert (answer.status, body) == (400, b'{"message":"INVALID_REQUEST"}')
