"""The real nsqadmin takes a cluster of nodes for one of nsqds: what it shows is so, and what it does is done."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import socket
import ssl
import struct
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import nsqlite
import nsqlite.net
from tests.interop.clients.programs import consuming
from tests.interop.clients.steps import subscribed
from tests.interop.cluster.admin import Admin, nsqadmin
from tests.interop.cluster.members import Cluster, cluster, found
from tests.interop.cluster.talking import ask, drain, make, publish
from tests.interop.servers import LOOKUPDS, ROOT, Server, make_certificate, node, node_daemon, our_nsqlookupd, until
from tests.interop.transcripts.wire import dpub

SCREENSHOTS: Final = ROOT / "build" / "screenshots"
PATIENCE_MS: Final = 15_000
PAGES: Final = ("/", "/topics", "/topics/t", "/topics/t/c", "/nodes", "/nodes/n", "/counter", "/lookup", "/ping")
ASSETS: Final = ("/static/main.js", "/static/vendor.js", "/static/base.css", "/fonts/glyphicons-halflings-regular.woff")
SUMMED: Final = (
    "depth", "in_flight_count", "deferred_count", "requeue_count", "timeout_count", "message_count", "client_count",
)  # fmt: skip
OF_CLIENT: Final = ("remote_address", "client_id", "hostname", "user_agent", "version", "connect_ts", "ready_count")
SECONDS: Final = re.compile(r"^\d+s$")
_numbers: Final = itertools.count()


@pytest.fixture(scope="module", params=list(LOOKUPDS))
def nodes(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes, around either nsqlookupd."""
    with cluster(request.param, "node", "node", lookupd_options={"tombstone_lifetime": 600.0}) as made:
        yield made


@pytest.fixture(scope="module")
def admin(nodes: Cluster) -> Iterator[Admin]:
    """Told of the nsqlookupd alone."""
    with nsqadmin(nsqlookupd_http_addresses=(nodes.lookupd.http_address,)) as made:
        yield made


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"topic-{next(_numbers)}"


def busy(server: Server, topic: str, stack: ExitStack) -> None:
    """A channel with messages in every place, some of them finished or requeued; and its client."""
    make(server, topic, "ch", "idle")
    publish(server, topic, *(b"done %d" % number for number in range(5)))
    drain(server, topic, "ch", 5)
    publish(server, topic, *(b"body %d" % number for number in range(20)))
    client = stack.enter_context(socket.create_connection((server.host, server.port), timeout=10))
    client.sendall(b"  V2" + dpub(topic, 60_000, b"later") + f"SUB {topic} ch\nRDY 3\n".encode())
    stream = client.makefile("rb")
    requeued = 0
    while not requeued:
        size, kind = struct.unpack(">ii", stream.read(8))
        frame = stream.read(size - 4)
        if kind == 2:
            client.sendall(b"REQ " + frame[10:26] + b" 60000\n")
            requeued += 1
    until(lambda: server.channel(topic, "ch").get("in_flight_count") == 3, "three are in flight")
    until(lambda: server.channel(topic, "ch").get("deferred_count") == 2, "two are deferred")
    until(lambda: server.channel(topic, "ch").get("client_count") == 1, "who drained it has gone")


def figures(told: dict[str, Any]) -> dict[str, int]:
    """What nsqadmin adds up of a channel."""
    return {name: told[name] for name in SUMMED}


def adds_up(told: dict[str, Any], stats: list[dict[str, Any]]) -> None:
    """What nsqadmin tells of a channel is what its members tell themselves, all together."""
    assert figures(told) == {name: sum(each[name] for each in stats) for name in SUMMED}
    assert told["memory_depth"] + told["backend_depth"] == told["depth"]


# -- what it shows ---------------------------------------------------------------------------


def test_every_page_is_answered(nodes: Cluster, admin: Admin, topic: str) -> None:
    """Every request that one of its pages makes; no member gives it reason to complain."""
    for each in nodes.members:
        make(each, topic, "ch")
    found(nodes.lookupd, topic, nodes.ports(), {"ch"})

    for path in (*PAGES, *ASSETS):
        assert admin.page(path).status == 200, path
    assert topic in admin.get("/topics")["topics"]
    assert topic not in admin.get("/topics?inactive=true")["topics"]
    for path in (f"/topics/{topic}", f"/topics/{topic}/ch", "/nodes", "/counter"):
        admin.get(path)
    for each in nodes.members:
        admin.get(f"/nodes/127.0.0.1:{each.http_port}")


def test_counters_are_the_nodes(nodes: Cluster, admin: Admin, topic: str) -> None:
    """Of a topic, of its channels, of a node, and the counter of all messages."""
    with ExitStack() as stack:
        for each in nodes.members:
            busy(each, topic, stack)
        found(nodes.lookupd, topic, nodes.ports(), {"ch", "idle"})

        of_topic, of_channel = admin.get(f"/topics/{topic}"), admin.get(f"/topics/{topic}/ch")
        of_nodes = [admin.get(f"/nodes/127.0.0.1:{each.http_port}") for each in nodes.members]
        counter = admin.get("/counter")["stats"]
        stats = [each.stats()["topics"] for each in nodes.members]
        of_channels = {name: [each.channel(topic, name) for each in nodes.members] for name in ("ch", "idle")}

    assert (of_topic["message_count"], of_topic["depth"], of_topic["paused"]) == (52, 0, False)
    assert {each["channel_name"] for each in of_topic["channels"]} == {"ch", "idle"}
    for channel in of_topic["channels"]:
        adds_up(channel, of_channels[channel["channel_name"]])
    assert sorted(map(str, map(figures, of_channel["nodes"]))) == sorted(map(str, map(figures, of_channels["ch"])))
    assert figures(of_channel) == {
        "depth": 32, "in_flight_count": 6, "deferred_count": 4, "requeue_count": 2, "timeout_count": 0,
        "message_count": 52, "client_count": 2,
    }  # fmt: skip
    for told, own in zip(of_nodes, stats, strict=True):
        assert told["total_messages"] == sum(each["message_count"] for each in own)
        assert {each["topic_name"] for each in told["topics"]} == {each["topic_name"] for each in own}
    for each in nodes.members:
        assert counter[f"{topic}:ch:127.0.0.1:{each.http_port}"]["message_count"] == 26


def test_nodes_are_shown_as_they_are(nodes: Cluster, admin: Admin, topic: str) -> None:
    """Addresses, ports, version, topics, and none out of date."""
    make(nodes.members[0], topic)
    found(nodes.lookupd, topic, {nodes.members[0].port})

    told = {each["tcp_port"]: each for each in admin.get("/nodes")["nodes"]}

    assert told.keys() == nodes.ports()
    for each in nodes.members:
        of_node = told[each.port]
        assert (of_node["broadcast_address"], of_node["http_port"]) == ("127.0.0.1", each.http_port)
        assert (of_node["version"], of_node["hostname"]) == ("1.3.0", socket.gethostname())
        assert not of_node["out_of_date"]
        assert [path.partition("/")[0] for path in of_node["remote_addresses"]] == [nodes.lookupd.http_address]
        assert (topic in [one["topic"] for one in of_node["topics"]]) == (each.port == nodes.members[0].port)


@pytest.mark.parametrize("client", ["pynsq", "gonsq"])
def test_clients_are_shown(nodes: Cluster, admin: Admin, topic: str, client: str) -> None:
    """A consumer, with what it calls itself, on each node that it is connected to."""
    for each in nodes.members:
        make(each, topic, "ch")
    found(nodes.lookupd, topic, nodes.ports())
    lookupds = [nodes.lookupd.http_address]
    with consuming(client, "-", 0, topic=topic, channel="ch", lookupds=lookupds, in_flight=10):
        for each in nodes.members:
            subscribed(each, topic)
        told = admin.get(f"/topics/{topic}/ch")["clients"]
        stats = [each.channel(topic, "ch")["clients"][0] for each in nodes.members]

    agents = {"pynsq": "pynsq/0.9.1", "gonsq": "go-nsq/1.1.0"}
    assert {each["node"] for each in told} == {f"127.0.0.1:{each.http_port}" for each in nodes.members}
    assert {each["user_agent"] for each in told} == {agents[client]}
    assert sorted([each[name] for name in OF_CLIENT] for each in told) == sorted(
        [each[name] for name in OF_CLIENT] for each in stats
    )


# -- what it does ----------------------------------------------------------------------------


def test_topic_and_channel_are_created(nodes: Cluster, admin: Admin, topic: str) -> None:
    """At the nsqlookupd, and the channel at every node that has the topic; the others get both when they are used."""
    one, two = nodes.members
    admin.do("POST", "/topics", topic=topic)
    assert topic in nodes.lookupd.ask("/topics")["topics"]
    make(one, topic)
    found(nodes.lookupd, topic, {one.port}, set())

    admin.do("POST", "/topics", topic=topic, channel="made")

    assert one.channel(topic, "made")["depth"] == 0
    found(nodes.lookupd, topic, {one.port}, {"made"})
    publish(two, topic, b"x")
    assert two.channel(topic, "made")["depth"] == 1


@pytest.mark.parametrize("suffix", ["", "/ch"], ids=["topic", "channel"])
def test_pause_and_unpause_take_effect(nodes: Cluster, admin: Admin, topic: str, suffix: str) -> None:
    """On every node, and it is shown."""
    for each in nodes.members:
        make(each, topic, "ch")
    found(nodes.lookupd, topic, nodes.ports(), {"ch"})
    path = f"/topics/{topic}{suffix}"

    for action, is_paused in (("pause", True), ("unpause", False)):
        admin.do("POST", path, action=action)
        paused = [
            each.channel(topic, "ch")["paused"] if suffix else of_topic(each, topic)["paused"] for each in nodes.members
        ]
        assert paused == [is_paused, is_paused]
        assert admin.get(path)["paused"] == is_paused


def test_empty_takes_effect(nodes: Cluster, admin: Admin, topic: str) -> None:
    """A channel loses what waits, a topic what has no channel yet; nothing else."""
    for each in nodes.members:
        make(each, topic, "ch", "other")
        make(each, topic + "-bare")
        publish(each, topic, b"a", b"b")
        publish(each, topic + "-bare", b"a", b"b")
    found(nodes.lookupd, topic, nodes.ports())
    found(nodes.lookupd, topic + "-bare", nodes.ports())

    admin.do("POST", f"/topics/{topic}/ch", action="empty")
    admin.do("POST", f"/topics/{topic}-bare", action="empty")

    for each in nodes.members:
        assert [each.channel(topic, name)["depth"] for name in ("ch", "other")] == [0, 2]
        assert of_topic(each, topic + "-bare")["depth"] == 0


def test_delete_takes_effect(nodes: Cluster, admin: Admin, topic: str) -> None:
    """On every node and at the nsqlookupd: first a channel, then the topic."""
    for each in nodes.members:
        make(each, topic, "ch", "other")
    found(nodes.lookupd, topic, nodes.ports(), {"ch", "other"})

    admin.do("DELETE", f"/topics/{topic}/ch")
    found(nodes.lookupd, topic, nodes.ports(), {"other"})
    assert [each.channel(topic, "ch") for each in nodes.members] == [{}, {}]
    admin.do("DELETE", f"/topics/{topic}")

    assert topic not in admin.get("/topics")["topics"]
    assert [of_topic(each, topic) for each in nodes.members] == [{}, {}]
    assert topic not in nodes.lookupd.ask("/topics")["topics"]


def test_tombstone_takes_effect(nodes: Cluster, admin: Admin, topic: str) -> None:
    """The node is not found for the topic any more, and has it no more."""
    one, two = nodes.members
    for each in nodes.members:
        make(each, topic, "ch")
    found(nodes.lookupd, topic, nodes.ports(), {"ch"})

    admin.do("DELETE", f"/nodes/127.0.0.1:{one.http_port}", topic=topic)

    found(nodes.lookupd, topic, {two.port}, {"ch"})
    assert of_topic(one, topic) == {}
    assert of_topic(two, topic)["topic_name"] == topic
    assert [each["node"] for each in admin.get(f"/topics/{topic}")["nodes"]] == [f"127.0.0.1:{two.http_port}"]


def test_its_notifications_are_published(nodes: Cluster, topic: str) -> None:
    """What it has done it posts to a node, as it would to an nsqd."""
    one = nodes.members[0]
    make(one, topic, "audit")
    endpoint = f"http://{one.http_address}/pub?topic={topic}"
    with nsqadmin(
        nsqlookupd_http_addresses=(nodes.lookupd.http_address,), notification_http_endpoint=endpoint
    ) as admin:
        admin.do("POST", "/topics", topic=topic + "-made")
        told = json.loads(drain(one, topic, "audit", 1)[0])

    assert (told["action"], told["topic"]) == ("create_topic", topic + "-made")


def of_topic(server: Server, topic: str) -> dict[str, Any]:
    """The statistics of one topic, or nothing if it is not there."""
    return next((each for each in server.stats()["topics"] if each["topic_name"] == topic), {})


# -- without an nsqlookupd, and over TLS -----------------------------------------------------


def test_nodes_by_address(nodes: Cluster, topic: str) -> None:
    """Told of the nodes themselves: the same figures, and what it does is done."""
    with nsqadmin(nsqd_http_addresses=[each.http_address for each in nodes.members]) as admin, ExitStack() as stack:
        for each in nodes.members:
            busy(each, topic, stack)
        assert topic in admin.get("/topics")["topics"]
        adds_up(admin.get(f"/topics/{topic}/ch"), [each.channel(topic, "ch") for each in nodes.members])
        told = {each["tcp_port"]: each for each in admin.get("/nodes")["nodes"]}
        assert told.keys() == nodes.ports()
        assert {each["version"] for each in told.values()} == {"1.3.0"}

        admin.do("POST", f"/topics/{topic}/idle", action="empty")
        admin.do("POST", f"/topics/{topic}", action="pause")

        assert [each.channel(topic, "idle")["depth"] for each in nodes.members] == [0, 0]
        assert [of_topic(each, topic)["paused"] for each in nodes.members] == [True, True]
        admin.do("DELETE", f"/topics/{topic}")
        assert [of_topic(each, topic) for each in nodes.members] == [{}, {}]


def test_https_is_found_where_http_is_refused(tmp_path: Path) -> None:
    """A node that requires TLS tells nsqadmin where, which goes there with its authority."""
    certificate = make_certificate(tmp_path)
    with (
        node(**certificate.options, tls_required=True) as server,
        nsqadmin(
            nsqd_http_addresses=(server.http_address,), http_client_tls_root_ca_file=certificate.authority
        ) as admin,
    ):
        assert ask(server.http_address, "/stats").status == 403
        assert admin.get("/nodes")["nodes"][0]["tcp_port"] == server.port
        target = f"https://127.0.0.1:{server.https_port}/topic/create?topic=t"
        trusting = ssl.create_default_context(cafile=certificate.authority)
        urllib.request.urlopen(urllib.request.Request(target, method="POST"), context=trusting).close()
        assert admin.get("/topics")["topics"] == ["t"]

        admin.do("POST", "/topics/t", action="pause")

        assert of_topic(server, "t")["paused"]


# -- in a browser ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as Debian packages it or as it is found."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "there is no Chromium; `make test-interop` installs it, or: make browser"
    with sync_playwright() as playwright:
        # As root there is no sandbox.
        launched = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        expect.set_options(timeout=PATIENCE_MS)
        yield launched
        launched.close()


def shoot(page: Page, name: str) -> None:
    """Take a picture for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"nsqadmin-{name}.png", full_page=True)


def test_pages_in_a_browser(browser: Browser) -> None:
    """No error of a script on any page; a client of the network and one inside the process are shown."""
    with ExitStack() as stack:
        where = stack.enter_context(our_nsqlookupd())
        addresses = {"nsqlookupd_tcp_addresses": (where.tcp_address,)}
        other = stack.enter_context(node_daemon(e2e_processing_latency_percentiles=("0.99", "0.5"), **addresses))
        own = stack.enter_context(nsqlite.open())
        listener = stack.enter_context(
            nsqlite.net.listen(
                own, tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", broadcast_address="127.0.0.1", **addresses
            )
        )
        inside = stack.enter_context(own.topic("orders").channel("billing").consume(max_in_flight=5))
        for number in range(7):
            own.publish("orders", b"order %d" % number)
        next(inside).finish()
        busy(other, "orders", stack)
        consumer = consuming("gonsq", other.host, other.port, topic="orders", channel="billing")
        stack.enter_context(consumer)
        subscribed(other, "orders", "billing")
        ports = {listener.tcp_address[1], other.port}
        found(where, "orders", ports, {"billing", "ch", "idle"})
        admin = stack.enter_context(nsqadmin(nsqlookupd_http_addresses=(where.http_address,)))

        page = browser.new_page(viewport={"width": 1280, "height": 900})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)

        _look(page, admin, other)
        page.close()

    assert complaints == []


def _look(page: Page, admin: Admin, other: Server) -> None:
    """Visit every page, as somebody does who clicks."""
    page.goto(f"http://{admin.address}/")
    page.get_by_role("link", name="orders", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Total:")).to_contain_text("33")
    expect(page.get_by_role("link", name="billing")).to_be_visible()
    shoot(page, "topic")

    page.get_by_role("link", name="billing").click()
    clients = page.get_by_role("table").last
    expect(clients.get_by_role("row")).to_have_count(3)
    expect(clients).to_contain_text("go-nsq/1.1.0")
    expect(clients).to_contain_text("nsqlite/")
    expect(clients.get_by_role("row").filter(has_text="nsqlite/").get_by_role("cell").last).to_have_text(SECONDS)
    shoot(page, "channel")

    page.get_by_role("button", name="Pause Channel").click()
    page.locator(".bootbox .btn-primary").click()
    expect(page.get_by_role("button", name="UnPause Channel")).to_be_visible()
    assert other.channel("orders", "billing")["paused"]

    page.get_by_role("link", name="Nodes").click()
    expect(page.get_by_role("heading", name="NSQd Nodes (2)")).to_be_visible()
    shoot(page, "nodes")
    page.goto(f"http://{admin.address}/nodes/{quote(other.http_address)}")
    expect(page.get_by_role("row").filter(has_text="orders")).to_contain_text("26")
    shoot(page, "node")
    page.goto(f"http://{admin.address}/counter")
    expect(page.locator(".numbers .number").first).to_be_visible()
    page.goto(f"http://{admin.address}/lookup")
    page.locator("input[name=topic]").fill("made-in-a-browser")
    page.locator("input[name=channel]").fill("ch")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("link", name="made-in-a-browser")).to_be_visible()
    shoot(page, "lookup")
