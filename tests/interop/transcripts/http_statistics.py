"""Checks 132 to 135, /info and /stats: JSON to the byte, and text to the blank."""

from __future__ import annotations

from tests.interop.transcripts.http_steps import JSON, TEXT, Answer, Look, Request
from tests.interop.transcripts.http_wire import ask, done, exchange, get_json, masked, post
from tests.interop.transcripts.steps import (
    Expect,
    ExpectChannel,
    ExpectClient,
    ExpectTopic,
    Message,
    Send,
    Step,
    Transcript,
    server,
)
from tests.interop.transcripts.wire import identified, published, subscribed

NO_LATENCY = '"e2e_processing_latency":{"count":0,"percentiles":null}'
HEAD = '{"version":"1.3.0","health":"OK","start_time":<int>,"topics":'
MEMORY = ",".join(
    f'"{name}":<int>'
    for name in (
        "heap_objects",
        "heap_idle_bytes",
        "heap_in_use_bytes",
        "heap_released_bytes",
        "gc_pause_usec_100",
        "gc_pause_usec_99",
        "gc_pause_usec_95",
        "next_gc_bytes",
        "gc_total_runs",
    )
)
TEXT_HEAD = """nsqd v1.3.0 (built w/<line>)
start_time <date>T<time>
uptime <duration>

Health: OK
"""
TEXT_MEMORY = """
Memory:
   heap_objects             \t<int>
   heap_idle_bytes          \t<int>
   heap_in_use_bytes        \t<int>
   heap_released_bytes      \t<int>
   gc_pause_usec_100        \t<int>
   gc_pause_usec_99         \t<int>
   gc_pause_usec_95         \t<int>
   next_gc_bytes            \t<int>
   gc_total_runs            \t<int>
"""
CLIENT = (
    '{"client_id":"<id>","hostname":"<name>","version":"V2","remote_address":"<address>","state":<state>,'
    '"ready_count":<rdy>,"in_flight_count":<inflight>,"message_count":<inflight>,"finish_count":0,"requeue_count":0,'
    '"connect_ts":<int>,"sample_rate":0,"deflate":false,"snappy":false,"user_agent":"<agent>",<topology><pubs>'
    '"tls":false,"tls_cipher_suite":"","tls_version":"","tls_negotiated_protocol":"",'
    '"tls_negotiated_protocol_is_mutual":false}'
)


def client(state: int, rdy: int = 0, in_flight: int = 0, pubs: str = "", agent: str = "") -> str:
    """A client in /stats; its id, host and agent are as it told, or its address."""
    text = CLIENT.replace("<id>", "me" if agent else "127.0.0.1").replace("<name>", "my.host" if agent else "127.0.0.1")
    for mask, value in (("state", state), ("rdy", rdy), ("inflight", in_flight), ("agent", agent)):
        text = text.replace(f"<{mask}>", str(value))
    return text.replace("<pubs>", f'"pub_counts":[{pubs}],' if pubs else "")


def channel(name: str, clients: str, **counts: object) -> str:
    """A channel in /stats."""
    known = {
        "depth": 0,
        "backend_depth": 0,
        "in_flight_count": 0,
        "deferred_count": 0,
        "message_count": 0,
        "requeue_count": 0,
        "timeout_count": 0,
        "client_count": 0,
    } | counts
    paused = "true" if known.pop("paused", False) else "false"
    fields = "".join(f'"{key}":{value},' for key, value in known.items())
    return f'{{"channel_name":"{name}",{fields}"clients":{clients},"paused":{paused},{NO_LATENCY}}}'


def topic(name: str, channels: str, *, depth: int = 0, count: int = 0, size: int = 0, paused: bool = False) -> str:
    """A topic in /stats."""
    counts = f'"depth":{depth},"backend_depth":0,"message_count":{count},"message_bytes":{size}'
    return f'{{"topic_name":"{name}","channels":[{channels}],{counts},"paused":{str(paused).lower()},{NO_LATENCY}}}'


def stats(query: str, topics: str, *, producers: str = "null", memory: str = "") -> tuple[Step, ...]:
    """/stats as JSON, to the byte."""
    text = f'{HEAD}{topics},{memory}"producers":{producers}}}'
    return get_json(f"/stats?format=json{query}", text)


def text_stats(query: str, body: str) -> tuple[Step, ...]:
    """/stats as text, to the blank."""
    return Request("GET", f"/stats{query}"), Answer(200, masked(body), TEXT)


JSON_STATS = (
    exchange(
        132,
        "empty_server",
        "A server without anything has an empty list of topics, and no list of producers.",
        stats("&include_mem=false", "[]"),
        stats("&include_mem=0&include_clients=0", "[]"),
        stats("&topic=unknown&include_mem=false", "null"),
        stats("", "[]", memory=f'"memory":{{{MEMORY}}},'),
        text_stats("", f"{TEXT_HEAD}{TEXT_MEMORY}\nTopics: None\n\nProducers: None\n"),
        text_stats("?include_mem=false", f"{TEXT_HEAD}\nTopics: None\n\nProducers: None\n"),
        server=server(alone="empty"),
    ),
    exchange(
        132,
        "bad_query",
        "A query that is none is refused.",
        ask("GET", "/stats?format=json&topic=%zz", 400, "INVALID_REQUEST"),
        ask("GET", "/stats?format=json;topic=a", 400, "INVALID_REQUEST"),
    ),
    exchange(
        132,
        "idle",
        "A topic with a message, and one with a channel, sorted by name.",
        post("/pub?topic=h132z", body=b"xyz"),
        done("/topic/create?topic=h132a"),
        done("/channel/create?topic=h132a&channel=d"),
        done("/channel/create?topic=h132a&channel=c"),
        done("/channel/pause?topic=h132a&channel=c"),
        done("/topic/pause?topic=h132z"),
        stats(
            "&include_mem=false",
            "["
            + topic("h132a", channel("c", "[]", paused=True) + "," + channel("d", "[]"))
            + ","
            + topic("h132z", "", depth=1, count=1, size=3, paused=True)
            + "]",
        ),
        server=server(alone="idle"),
    ),
    exchange(
        133,
        "unknown_topic",
        "An unknown topic is null, and its producers are there no more than the others.",
        stats("&include_mem=false&topic=unknown", "null"),
        stats("&include_mem=false&topic=a$", "null"),
        stats("&include_mem=false&topic=unknown&channel=c", "null"),
    ),
    exchange(
        133,
        "one_topic",
        "Of a topic that is named, all is told.",
        post("/pub?topic=h133"),
        post("/pub?topic=h133other"),
        stats("&include_mem=false&topic=h133", "[" + topic("h133", "", depth=1, count=1, size=1) + "]"),
        stats("&include_mem=false&topic=h133&topic=h133other", "[" + topic("h133", "", depth=1, count=1, size=1) + "]"),
    ),
    exchange(
        133,
        "one_channel",
        "Of a channel that is named, all is told, and of topics that have it.",
        done("/topic/create?topic=h133a"),
        done("/topic/create?topic=h133b"),
        done("/topic/create?topic=h133c"),
        done("/channel/create?topic=h133a&channel=c"),
        done("/channel/create?topic=h133a&channel=d"),
        done("/channel/create?topic=h133c&channel=c"),
        stats(
            "&include_mem=false&channel=c",
            "[" + topic("h133a", channel("c", "[]")) + "," + topic("h133c", channel("c", "[]")) + "]",
        ),
        stats("&include_mem=false&topic=h133a&channel=d", "[" + topic("h133a", channel("d", "[]")) + "]"),
        stats("&include_mem=false&topic=h133b&channel=d", "[]"),
        stats("&include_mem=false&channel=nowhere", "[]"),
        stats("&include_mem=false&channel=", "[<any>]"),
        server=server(alone="one_channel"),
    ),
)

CLIENTS = (
    exchange(
        134,
        "consumer",
        "A consumer is told with all it said of itself, in its channel.",
        identified(client_id="me", hostname="my.host", user_agent='<a&"b>/1'),
        subscribed("h134", rdy=1),
        post("/pub?topic=h134"),
        Expect(Message(b"x")),
        ExpectClient("h134", "c", {"ready_count": 1, "in_flight_count": 1}),
        stats(
            "&include_mem=false&topic=h134",
            "["
            + topic(
                "h134",
                channel(
                    "c",
                    "[" + client(3, 1, 1, agent='\\u003ca\\u0026\\"b\\u003e/1') + "]",
                    in_flight_count=1,
                    message_count=1,
                    client_count=1,
                ),
                count=1,
                size=1,
            )
            + "]",
        ),
        stats(
            "&include_mem=false&topic=h134&include_clients=false",
            "["
            + topic("h134", channel("c", "null", in_flight_count=1, message_count=1, client_count=1), count=1, size=1)
            + "]",
        ),
        server=server(alone="consumer"),
    ),
    exchange(
        134,
        "producer",
        "A connection that published is a producer, with what it published to the topic that is asked for.",
        published("h134p", b"x", b"y"),
        stats(
            "&include_mem=false&topic=h134p",
            "[" + topic("h134p", "", depth=2, count=2, size=2) + "]",
            producers="[" + client(0, pubs='{"topic":"h134p","count":2}') + "]",
        ),
        stats("&include_mem=false&topic=unknown", "null"),
        done("/topic/create?topic=h134q"),
        stats("&include_mem=false&topic=h134q", "[" + topic("h134q", "") + "]", producers="[" + client(0) + "]"),
        stats("&include_mem=false&topic=h134q&include_clients=false", "[" + topic("h134q", "") + "]"),
        server=server(alone="producer"),
    ),
    exchange(
        134,
        "both",
        "A connection that publishes and is subscribed is in both lists.",
        published("h134b", b"x"),
        subscribed("h134b", "c#ephemeral"),
        Look(
            "/stats?format=json&topic=h134b",
            {"topics": [{"channels": [{"client_count": 1, "clients": [{"pub_counts": [{"count": 1}]}]}]}]},
        ),
        Look(
            "/stats?format=json&topic=h134b",
            {"producers": [{"state": 3, "pub_counts": [{"topic": "h134b", "count": 1}]}]},
        ),
        server=server(alone="both"),
    ),
    exchange(
        134,
        "nobody_said_anything",
        "A connection that said nothing but the magic is in no list.",
        Send(b"NOP\n"),
        stats("&include_mem=false&topic=unknown", "null"),
        done("/topic/create?topic=h134n"),
        stats("&include_mem=false&topic=h134n", "[" + topic("h134n", "") + "]"),
        server=server(alone="nobody"),
    ),
    *(
        exchange(
            134,
            f"include_clients_{value}",
            "Clients are left out for false and 0, and for nothing else.",
            subscribed(f"h134{value}"),
            Look(
                f"/stats?format=json&topic=h134{value}&include_clients={value}",
                {"topics": [{"channels": [{"client_count": 1, "clients": clients}]}]},
            ),
        )
        for value, clients in (
            ("true", [{}]),
            ("1", [{}]),
            ("", [{}]),
            ("False", [{}]),
            ("no", [{}]),
            ("false", None),
            ("0", None),
        )
    ),
)

TEXT_TOPIC = """
   [h135           ] depth: 0     be-depth: 0     msgs: 2        e2e%: 
   *P [c                        ] depth: 1     be-depth: 0     inflt: 0    def: 1    re-q: 0     timeout: 0     msgs: 2        e2e%: 
      [d#ephemeral              ] depth: 0     be-depth: 0     inflt: 1    def: 1    re-q: 0     timeout: 0     msgs: 2        e2e%: 
        [V2 my.host:<int> agent/1<blanks>] state: 3 inflt: 1    rdy: 1    fin: 0        re-q: 0        msgs: 1        connected: <duration>

*P [h135_with_a_long_name] depth: 12    be-depth: 0     msgs: 12       e2e%: 
"""  # noqa: E501, W291  # as it looks

TEXT_STATS = (
    *(
        exchange(
            135,
            f"format_{name}",
            "Statistics are text unless they are asked for as json.",
            Request("GET", f"/stats?topic=unknown&{query}"),
            Answer(200, masked(f"{TEXT_HEAD}{TEXT_MEMORY}\nTopics: None\n\nProducers: None\n"), TEXT),
        )
        for name, query in (
            ("upper", "format=JSON"),
            ("text", "format=text"),
            ("empty", "format="),
            ("first", "format=text&format=json"),
        )
    ),
    exchange(
        135,
        "text",
        "Text has a line for each topic, channel, consumer and producer.",
        identified(client_id="me", hostname="my.host", user_agent="agent/1"),
        done("/topic/create?topic=h135"),
        done("/channel/create?topic=h135&channel=c"),
        done("/channel/pause?topic=h135&channel=c"),
        subscribed("h135", "d#ephemeral", rdy=1),
        post("/pub?topic=h135"),
        Expect(Message(b"x")),
        post("/pub?topic=h135&defer=60000"),
        done("/topic/create?topic=h135_with_a_long_name"),
        done("/topic/pause?topic=h135_with_a_long_name"),
        post("/mpub?topic=h135_with_a_long_name", body=b"x\n" * 12),
        ExpectChannel("h135", "d#ephemeral", {"deferred_count": 1}),
        ExpectChannel("h135", "c", {"deferred_count": 1}),
        ExpectTopic("h135_with_a_long_name", {"depth": 12}),
        text_stats("?include_mem=false", f"{TEXT_HEAD}\nTopics:{TEXT_TOPIC}\nProducers: None\n"),
        text_stats(
            "?include_mem=false&topic=h135_with_a_long_name",
            f"{TEXT_HEAD}\nTopics:\n{TEXT_TOPIC.rpartition(chr(10) * 2)[2]}\nProducers: None\n",
        ),
        text_stats(
            "?include_mem=false&include_clients=false",
            f"{TEXT_HEAD}\nTopics:{TEXT_TOPIC.partition('        [')[0]}"
            f"\n{TEXT_TOPIC.rpartition(chr(10) * 2)[2]}\nProducers: None\n",
        ),
        server=server(alone="text"),
    ),
    exchange(
        135,
        "text_producers",
        "Producers stand at the end, each with what it published.",
        published("h135p", b"x", b"y"),
        text_stats(
            "?include_mem=false&topic=h135p",
            f"{TEXT_HEAD}\nTopics:\n   [h135p          ] depth: 2     be-depth: 0     msgs: 2        e2e%: \n"
            "\nProducers:\n   [V2 127.0.0.1:<int> <blanks>] msgs: 2        topics: h135p=2 connected: <duration>\n",
        ),
        server=server(alone="text_producers"),
    ),
)

LATENCY = (
    exchange(
        132,
        "latency",
        "Percentiles are told in falling order, in nanoseconds, and how many messages they are of.",
        subscribed("h132l", rdy=1),
        stats(
            "&topic=h132l&include_mem=false&include_clients=false",
            '[{"topic_name":"h132l","channels":[{<any>"e2e_processing_latency":{"count":0,"percentiles":'
            '[{"quantile":0.99,"value":0},{"quantile":0.5,"value":0}]}}],<any>,"e2e_processing_latency":{"count":0,'
            '"percentiles":[{"quantile":0.99,"value":0},{"quantile":0.5,"value":0}]}}]',
        ),
        post("/pub?topic=h132l"),
        Expect(Message(b"x", keep="m")),
        Send(b"FIN {m}\n"),
        Look(
            "/stats?format=json&topic=h132l&include_mem=false",
            {"topics": [{"e2e_processing_latency": {"count": 1}}]},
        ),
        server=server(alone="latency", e2e_processing_latency_percentiles=(0.5, 0.99)),
    ),
)

INFO = (
    exchange(
        132,
        "info",
        "What a server is and where it listens, in this order.",
        get_json(
            "/info",
            '{"version":"1.3.0","broadcast_address":"broadcast.example","hostname":"<string>","http_port":<int>,'
            '"tcp_port":<int>,"start_time":<int>,"max_heartbeat_interval":30500000000,"max_output_buffer_size":65537,'
            '"max_output_buffer_timeout":29000000000,"max_deflate_level":5<any>}',
        ),
        server=server(
            broadcast_address="broadcast.example",
            broadcast_tcp_port=1,
            broadcast_http_port=2,
            max_heartbeat_interval=30.5,
            max_output_buffer_size=65537,
            max_output_buffer_timeout=29.0,
            max_deflate_level=5,
        ),
    ),
    exchange(
        132,
        "info_with_bad_query",
        "Nobody looks at the query of /info.",
        Request("GET", "/info?%zz;"),
        Answer(200, None, JSON),
    ),
)

TRANSCRIPTS: tuple[Transcript, ...] = (*JSON_STATS, *CLIENTS, *TEXT_STATS, *LATENCY, *INFO)
