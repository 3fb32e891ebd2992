"""Nodes and an nsqlookupd together."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from nsqlite.errors import InvalidOptionError
from nsqlite.testing import Clock, Cluster, nsq_cluster
from tests.net.rig import OK
from tests.testing.raw import connecting, pub, subscribed

Make = Callable[..., Cluster]


def looked_up(cluster: Cluster, topic: str) -> list[str]:
    """Where the nsqlookupd sends consumers of a topic, as they hear it over HTTP."""
    with urllib.request.urlopen(f"http://{cluster.lookupd_http_address}/lookup?topic={topic}") as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return sorted(f"{each['broadcast_address']}:{each['tcp_port']}" for each in found["producers"])


def test_nodes_are_registered(nsq_cluster: Make) -> None:
    """All nodes are known when a cluster is there, and so is each topic soon after it is made."""
    cluster = nsq_cluster(nodes=3)

    assert sorted(cluster.lookupd.nodes()) == sorted(each.tcp_address for each in cluster.nodes)
    for each in cluster.nodes[:2]:
        with connecting(each) as connect:
            assert connect().ask(pub("orders", b"7")) == OK
    cluster.wait_registered("orders", producers=2)
    assert looked_up(cluster, "orders") == sorted(each.tcp_address for each in cluster.nodes[:2])


def test_channels_are_registered(nsq_cluster: Make) -> None:
    """A channel is known, at the node that has it."""
    cluster = nsq_cluster(topics=["orders"])
    with connecting(cluster.nodes[1]) as connect:
        subscribed(connect())

        cluster.wait_registered("orders", "billing", producers=1)

    cluster.wait_registered("orders")
    assert cluster.lookupd.producers("orders", "billing") == [cluster.nodes[1].tcp_address]


def test_a_node_that_stops_is_forgotten(nsq_cluster: Make) -> None:
    """Consumers are sent to the others only, until it is there again, with its topics, at its address."""
    cluster = nsq_cluster(nodes=2, topics=["orders"])
    cluster.wait_registered("orders")

    cluster.nodes[0].stop()

    cluster.wait_registered("orders")
    assert looked_up(cluster, "orders") == [cluster.nodes[1].tcp_address]

    cluster.nodes[0].start()

    cluster.wait_registered("orders", producers=2)
    cluster.wait_identified()


def test_a_node_that_is_killed_comes_back(nsq_cluster: Make, nsq_clock: Clock) -> None:
    """It registers anew with what its store kept, where time stands still, too."""
    cluster = nsq_cluster(nodes=2, topics=["orders"])
    cluster.wait_registered("orders")

    cluster.nodes[0].crash_and_restart()

    cluster.wait_identified()
    cluster.wait_registered("orders", producers=2)


def test_a_lookupd_that_restarts_is_told_again(nsq_cluster: Make, nsq_clock: Clock) -> None:
    """Nodes come back to it in their own time, which is the test's."""
    cluster = nsq_cluster(nodes=2, topics=["orders"])
    cluster.lookupd.stop()
    cluster.lookupd.start()

    nsq_clock.advance(15)

    cluster.wait_identified()
    cluster.wait_registered("orders")


def test_jumps_of_hours_lose_nobody(nsq_cluster: Make, nsq_clock: Clock) -> None:
    """However far time jumps, and how often, nodes stay registered: nobody waits for them, and no link is lost."""
    cluster = nsq_cluster(nodes=2, topics=["orders"])
    cluster.wait_registered("orders")
    assert cluster.lookupd._servers is not None
    known = list(cluster.lookupd._servers.registry._producers)

    for _ in range(5):
        nsq_clock.advance(3600)

        cluster.wait_identified(timeout=0)
        cluster.wait_registered("orders", timeout=0)

    cluster._let_register(0)
    assert list(cluster.lookupd._servers.registry._producers) == known


def test_clock_is_let_go(nsq_clock: Clock) -> None:
    """A clock outlives the clusters on it, also those whose nsqlookupd is away."""
    before = list(nsq_clock.before)

    with nsq_cluster(clock=nsq_clock) as cluster:
        cluster.lookupd.stop()
        cluster.nodes[0].stop()
        nsq_clock.advance(1)

    assert nsq_clock.before == before


def test_all_are_on_one_clock(nsq_cluster: Make, nsq_clock: Clock) -> None:
    """Time moves for all nodes at once."""
    cluster = nsq_cluster(nodes=2)
    for each in cluster.nodes:
        each.node.topic("orders").channel("billing")
        each.publish("orders", b"7", delay=60)

    nsq_clock.advance(60)

    assert [each.node.topic("orders").channel("billing").depth for each in cluster.nodes] == [1, 1]


def test_wait_says_what_there_is(nsq_cluster: Make) -> None:
    """What does not come about is an error that names who is there."""
    cluster = nsq_cluster(nodes=1, topics=["orders"])
    cluster.wait_registered("orders")

    with pytest.raises(
        AssertionError, match=f"1 nodes, not 2, have orders after 0 s: .*{cluster.nodes[0].tcp_address}"
    ):
        cluster.wait_registered("orders", producers=2, timeout=0)
    with pytest.raises(AssertionError, match="0 nodes, not 1, have orders:billing"):
        cluster.wait_registered("orders", "billing", timeout=0)

    cluster.lookupd.stop()

    with pytest.raises(AssertionError, match=r"the nsqlookupd knows \[\], not \['127"):
        cluster.wait_identified(timeout=0)
    assert cluster.lookupd_tcp_address == cluster.lookupd.tcp_address


@pytest.mark.parametrize("options", [{"nodes": 0}, {"nodes": 1, "mem_queue": 3}, {"nodes": 1, "http_address": ""}])
def test_wrong_option_is_refused(options: dict[str, Any]) -> None:
    """A cluster of nobody, or an option that is none, is an error; nothing is left open."""
    with pytest.raises(InvalidOptionError):
        Cluster(**options)


def test_block_ends_with_a_check() -> None:
    """A node that is broken fails the block."""
    with pytest.raises(AssertionError), nsq_cluster(topics=["orders:billing"]) as cluster:
        cluster.nodes[1]._subject.engine.broker.topics["orders"].channels["billing"].ready_count += 1

    assert not any(each.is_serving for each in cluster.nodes)


def test_cluster_is_a_block_of_its_own() -> None:
    """The class can be entered, too; faults of each node have a seed of their own."""
    with Cluster(nodes=2, seed=5) as cluster:
        assert [each._faults._seed for each in cluster.nodes] == [5, 6]

    assert cluster.lookupd.nodes() == []
