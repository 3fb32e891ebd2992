"""The pytest plugin: fixtures `nsq`, `nsq_clock`, `nsqd`, `nsq_cluster`, and the marker `nsq`.

Every pytest run of everybody who has nsqlite installed imports this module, so it imports nothing: what the
fixtures need comes when they are used. `-p no:nsqlite` takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nsqlite.testing.clock import Clock
    from nsqlite.testing.cluster import Cluster
    from nsqlite.testing.nsq import Nsq
    from nsqlite.testing.nsqd import Nsqd

_MARKER = (
    "nsq(durability='fsync', seed=0, topics=(), **options): how the fixtures nsq, nsqd and nsq_cluster are made: "
    "what a crash leaves ('memory', 'commit', 'fsync', or 'disk' for a real store), the seed of their faults, topics "
    "('orders') and channels ('orders:billing') that are there, and options of the node and its listener"
)
_SUBJECTS: pytest.StashKey[list[Any]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a test fail, by its own name, that leaves a node unsound."""
    result = yield
    for subject in item.stash.get(_SUBJECTS, ()):
        subject.check()
    return result


@pytest.fixture
def nsq_clock() -> Iterator[Clock]:
    """Time that stands still until the test moves it: `advance`, `advance_to_next`.

    At the end of the test who sleeps on it goes on with ClockClosedError.
    """
    from nsqlite.testing.clock import Clock

    clock = Clock()
    yield clock
    clock.close()


@pytest.fixture
def nsq(request: pytest.FixtureRequest, nsq_clock: Clock) -> Iterator[Nsq]:
    """NSQ in this process, in memory, on `nsq_clock`; see nsqlite.testing.Nsq.

    The test fails if the node is not sound at its end.
    """
    from nsqlite.testing.nsq import Nsq

    options = _marked(request)
    options.pop("seed", None)  # of faults, which it has none of
    subject = Nsq(clock=nsq_clock, **options)
    try:
        _watch(request, subject)
        yield subject
    finally:
        subject.close()


@pytest.fixture
def nsqd(request: pytest.FixtureRequest) -> Iterator[Nsqd]:
    """An nsqd in this process, on free ports, for any NSQ client; see nsqlite.testing.Nsqd.

    Its time is real, or that of `nsq_clock` in a test that asks for that, too. The test fails if the node is
    not sound at its end.
    """
    from nsqlite.testing.nsqd import Nsqd

    subject = Nsqd(clock=_clock(request), **_marked(request))
    try:
        _watch(request, subject)
        yield subject
    finally:
        subject.close()


@pytest.fixture
def nsq_cluster(request: pytest.FixtureRequest) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of nodes and an nsqlookupd, all in this process: ``nsq_cluster(nodes=2)``."""
    from nsqlite.testing.cluster import Cluster

    made: list[Cluster] = []

    def make(nodes: int = 2, **options: Any) -> Cluster:
        _check_names("nsq_cluster", options)
        cluster = Cluster(nodes, clock=_clock(request), **_marked(request) | options)
        made.append(cluster)
        _watch(request, cluster)
        return cluster

    try:
        yield make
    finally:
        for each in reversed(made):
            each.close()


def _clock(request: pytest.FixtureRequest) -> Clock | None:
    """The test's virtual clock, if it has asked for one."""
    return request.getfixturevalue("nsq_clock") if "nsq_clock" in request.fixturenames else None


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the markers say, the closest to the test over the others."""
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("nsq"))):
        if marker.args:
            raise pytest.UsageError("the marker nsq takes names only, as in nsq(durability='commit')")
        _check_names("the marker nsq", marker.kwargs)
        options |= marker.kwargs
    return options


def _check_names(taker: str, options: dict[str, Any]) -> None:
    """Refuse what neither a node nor its listener takes, and what a fixture gives."""
    import attrs

    from nsqlite.net.options import ListenerOptions
    from nsqlite.options import Options

    known = {"durability", "seed", "topics", *attrs.fields_dict(Options), *attrs.fields_dict(ListenerOptions)}
    hints = {"clock": "; ask for the fixture nsq_clock", "nodes": "; call nsq_cluster(nodes=...)"}
    for name in options:
        if name not in known:
            raise pytest.UsageError(
                f"{taker} does not take {name}: there is no such option{hints.get(name, '')}. It takes durability, "
                f"seed, topics, and options of nsqlite.Options and nsqlite.net.ListenerOptions"
            )


def _watch(request: pytest.FixtureRequest, subject: Any) -> None:
    request.node.stash.setdefault(_SUBJECTS, []).append(subject)
