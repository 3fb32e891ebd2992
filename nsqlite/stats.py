"""Snapshots of a node's counters: frozen, and named as NSQ names them."""

from __future__ import annotations

import attrs


@attrs.frozen
class Percentile:
    """One percentile of a latency.

    Attributes:
        quantile: Which: 0.99 says that 99 % of the messages took no longer.
        value_ns: How long; 0 if there was no message.
    """

    quantile: float
    value_ns: int


@attrs.frozen
class Latency:
    """How long messages took from publish to finish, of late; see `e2e_processing_latency_percentiles`.

    Attributes:
        count: Messages finished within the window.
        percentiles: The percentiles asked for, the highest first; none when none is kept.
    """

    count: int = 0
    percentiles: tuple[Percentile, ...] = ()


@attrs.frozen
class HistogramStats:
    """How long something took, since the process began.

    Attributes:
        buckets: Pairs of a bound in seconds and how many took at most as long; both rise.
        sum_seconds: All of them together.
        count: How many there were, those beyond the last bound too.
    """

    buckets: tuple[tuple[float, int], ...] = ()
    sum_seconds: float = 0.0
    count: int = 0


NO_LATENCY = Latency()
NO_HISTOGRAM = HistogramStats()


@attrs.frozen
class PubCount:
    """How many messages a client published to one topic.

    Attributes:
        topic: Its name.
        count: Messages.
    """

    topic: str
    count: int


@attrs.frozen
class ClientStats:
    """One consumer of a channel, or a publisher. In the process only the first six and `connect_ts` are set.

    Attributes:
        client_id: Who it is; for a consumer in the process, its number.
        ready_count: Most messages it will hold at once.
        in_flight_count: Messages it holds now.
        message_count: Messages it was handed.
        finish_count: Messages it finished.
        requeue_count: Messages it requeued.
        hostname: Where it says it runs.
        user_agent: The library it says it uses.
        version: Of the protocol: "V2"; empty for who is in the process.
        remote_address: "ip:port", or "@" on a unix socket.
        state: 0 at first, 3 subscribed, 4 after CLS.
        connect_ts: When it connected, or began to consume, in seconds since the epoch.
        sample_rate: Per cent of the channel's messages it gets, 0 for all.
        deflate: Whether the connection is compressed so.
        snappy: The same.
        tls: Whether it is encrypted.
        tls_version: "TLS1.3" and the like.
        tls_cipher_suite: As OpenSSL names it.
        tls_negotiated_protocol_is_mutual: Whether the client showed a certificate.
        authed: Whether an auth server knows it.
        auth_identity: As whom.
        auth_identity_url: Where to read about that.
        topology_region: Where it says it is.
        topology_zone: The same, closer.
        pub_counts: How many messages it published, by topic.
    """

    client_id: str
    ready_count: int
    in_flight_count: int
    message_count: int
    finish_count: int
    requeue_count: int
    hostname: str = ""
    user_agent: str = ""
    version: str = ""
    remote_address: str = ""
    state: int = 3
    connect_ts: int = 0
    sample_rate: int = 0
    deflate: bool = False
    snappy: bool = False
    tls: bool = False
    tls_version: str = ""
    tls_cipher_suite: str = ""
    tls_negotiated_protocol_is_mutual: bool = False
    authed: bool = False
    auth_identity: str = ""
    auth_identity_url: str = ""
    topology_region: str = ""
    topology_zone: str = ""
    pub_counts: tuple[PubCount, ...] = ()


@attrs.frozen
class ChannelStats:
    """One channel. Counts of events start with the process; depths do not.

    Attributes:
        channel_name: Its name.
        depth: Messages that wait: neither in flight nor deferred.
        backend_depth: Of those, how many are on disk only.
        in_flight_count: Messages handed out and not answered.
        deferred_count: Messages that wait for their time.
        message_count: Messages it was routed.
        requeue_count: Messages requeued by a consumer.
        timeout_count: Deliveries that were not answered in time.
        finish_count: Messages finished.
        dropped_count: Messages an ephemeral channel had no room for.
        client_count: Consumers that are open.
        clients: Those consumers.
        paused: Whether it hands nothing out.
        oldest_waiting_seconds: Age of the oldest message that waits, 0.0 if none does.
        e2e_processing_latency: Percentiles of the time from publish to finish over the window.
        e2e_seconds: The same as a histogram since the channel was made or its store was opened;
            None when no percentile is kept.
    """

    channel_name: str
    depth: int
    backend_depth: int
    in_flight_count: int
    deferred_count: int
    message_count: int
    requeue_count: int
    timeout_count: int
    finish_count: int
    dropped_count: int
    client_count: int
    clients: tuple[ClientStats, ...]
    paused: bool
    oldest_waiting_seconds: float
    e2e_processing_latency: Latency = NO_LATENCY
    e2e_seconds: HistogramStats | None = None


@attrs.frozen
class TopicStats:
    """One topic.

    Attributes:
        topic_name: Its name.
        channels: Its channels, by name.
        depth: Messages that wait in the topic itself, for a first channel or an unpause.
        backend_depth: Of those, how many are on disk only.
        message_count: Publishes accepted since the process began.
        message_bytes: Bytes of their bodies.
        dropped_count: Messages an ephemeral topic had no room for.
        paused: Whether it routes nothing to its channels.
        e2e_processing_latency: Percentiles of the time from publish to finish, of all its channels.
    """

    topic_name: str
    channels: tuple[ChannelStats, ...]
    depth: int
    backend_depth: int
    message_count: int
    message_bytes: int
    dropped_count: int
    paused: bool
    e2e_processing_latency: Latency = NO_LATENCY


@attrs.frozen
class NodeStats:
    """A whole node.

    Attributes:
        version: Of nsqlite.
        health: "OK", or "NOK - " and the last error of the store.
        start_time_ns: Wall time at which the node was opened.
        topics: Its topics, by name.
        store_bytes: Bytes its store takes: LMDB, journal and reserve; messages at "memory".
        journal_bytes: Bytes of journal that are not settled yet.
        producers: Clients of listeners that have published.
        is_full: Whether the last publish that found no room in the store would find none now.
        sync_seconds: What syncs of the journal took; none at "memory".
        settlement_seconds: What settlements took; none at "memory".
        e2e_seconds: What messages took from publish to finish, in all channels there ever were;
            none when no percentile is kept.
    """

    version: str
    health: str
    start_time_ns: int
    topics: tuple[TopicStats, ...]
    store_bytes: int
    journal_bytes: int
    producers: tuple[ClientStats, ...] = ()
    is_full: bool = False
    sync_seconds: HistogramStats = NO_HISTOGRAM
    settlement_seconds: HistogramStats = NO_HISTOGRAM
    e2e_seconds: HistogramStats = NO_HISTOGRAM
