"""What a transcript is made of: a rule, the server it needs, and steps that are data.

Nothing here talks to anybody: `player.py` does, to a node or to a real nsqd. A step that
names nobody is done by connection "A"; a connection that was not made by `Connect` is
made, with the magic, by the first step that names it.

In the bytes and names of a transcript, ``{word}`` stands for the id of the message that
an earlier `Message` kept under that word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from tests.interop.transcripts.http_steps import HttpStep

MAGIC = b"  V2"
RESPONSE, ERROR, MESSAGE = 0, 1, 2


@attrs.frozen
class Frame:
    """A response or an error: all of its data, or a pattern that all of it matches."""

    frame_type: int
    data: bytes | re.Pattern[bytes]


@attrs.frozen
class Json:
    """A response that is a JSON object in which these keys have these values."""

    values: Mapping[str, Any]


@attrs.frozen
class Message:
    """A message.

    Attributes:
        body: Its body.
        attempts: Its attempts.
        keep: Word under which its id and timestamp are kept.
        again: Word of the message whose id and timestamp it has.
        unlike: Word of the message whose id it has not.
    """

    body: bytes
    attempts: int = 1
    keep: str = ""
    again: str = ""
    unlike: str = ""


@attrs.frozen(eq=False)
class Between:
    """A number from low to high, both allowed, where a statistic is expected."""

    low: int
    high: int

    def __eq__(self, other: object) -> bool:
        """Compare with a number that was found."""
        return isinstance(other, int) and self.low <= other <= self.high

    def __hash__(self) -> int:
        """Agree with no number: it is never looked up."""
        return hash((self.low, self.high))


def response(data: bytes | re.Pattern[bytes]) -> Frame:
    """Expect a response frame."""
    return Frame(RESPONSE, data)


def error(data: str | bytes | re.Pattern[bytes]) -> Frame:
    """Expect an error frame."""
    return Frame(ERROR, data.encode() if isinstance(data, str) else data)


OK = response(b"OK")
HEARTBEAT = response(b"_heartbeat_")
CLOSE_WAIT = response(b"CLOSE_WAIT")


@attrs.frozen
class Connect:
    """Connect, and send these bytes where a well-behaved client sends the magic."""

    magic: bytes = MAGIC
    by: str = "A"


@attrs.frozen
class Send:
    """Send bytes, through whatever the connection was upgraded to."""

    data: bytes
    by: str = "A"


@attrs.frozen
class HalfClose:
    """Send nothing more, but go on listening."""

    by: str = "A"


@attrs.frozen
class Close:
    """Close the connection, as a client that crashed."""

    by: str = "A"


@attrs.frozen
class Expect:
    """The next frame is this one.

    Attributes:
        frame: The frame.
        by: Who receives it.
        late: Real seconds by which a server on real time may be late; a node on virtual
            time is never late.
        perhaps: What may come before it, any number of times.
    """

    frame: Frame | Json | Message
    by: str = "A"
    late: float = 10.0
    perhaps: Frame | None = None


@attrs.frozen
class ExpectBytes:
    """The next bytes, before any decompression, are exactly these."""

    data: bytes
    by: str = "A"


@attrs.frozen
class ExpectEof:
    """The server closes the connection; before that come no frames but these, which may."""

    perhaps: Frame | None = None
    by: str = "A"


@attrs.frozen
class Silence:
    """So many seconds pass, and nothing comes; with 0, nothing has come or is coming."""

    seconds: float = 0.0
    by: str = "A"


@attrs.frozen
class Advance:
    """So many seconds pass, and anything may come. They count from the last bytes sent or received."""

    seconds: float


@attrs.frozen
class StartTls:
    """Make the TLS handshake, showing no certificate, the client's or a stranger's."""

    by: str = "A"
    certificate: Literal["", "client", "stranger"] = ""
    newest: Literal["", "1.1", "1.2"] = ""


@attrs.frozen
class RefuseTls:
    """The server ends this TLS handshake, of which a client learns in the handshake up to TLS 1.2."""

    by: str = "A"
    certificate: Literal["", "client", "stranger"] = ""
    newest: Literal["", "1.1", "1.2"] = "1.2"


@attrs.frozen
class StartCompression:
    """From now on all that is sent and received is compressed."""

    method: Literal["snappy", "deflate"]
    by: str = "A"


@attrs.frozen
class ExpectTopic:
    """A topic has, or soon has, these statistics."""

    topic: str
    values: Mapping[str, Any]


@attrs.frozen
class ExpectNoTopic:
    """There is no topic of this name, or soon none."""

    topic: str


@attrs.frozen
class ExpectNoChannel:
    """The topic is there, and has, or soon has, no channel of this name."""

    topic: str
    channel: str


@attrs.frozen
class Manage:
    """What is asked of a server otherwise than over this protocol; without a channel, of the topic."""

    action: Literal["pause", "unpause", "empty", "delete"]
    topic: str
    channel: str = ""


@attrs.frozen
class ExpectChannel:
    """A channel has, or soon has, these statistics."""

    topic: str
    channel: str
    values: Mapping[str, Any]


@attrs.frozen
class ExpectClient:
    """A connection has, or soon has, these statistics as a consumer of a channel."""

    topic: str
    channel: str
    values: Mapping[str, Any]
    by: str = "A"


@attrs.frozen
class ExpectProducer:
    """A connection has, or soon has, these statistics as a producer."""

    values: Mapping[str, Any]
    by: str = "A"


@attrs.frozen
class AuthAnswers:
    """From now on the auth server answers so; with status 0 it hangs up instead."""

    body: bytes
    status: int = 200


@attrs.frozen
class ExpectAuthRequests:
    """These request lines have reached the auth server in this transcript."""

    lines: tuple[str, ...]


@attrs.frozen
class Differs:
    """A node does something else than nsqd, deliberately."""

    nsqd: tuple[Step, ...]
    node: tuple[Step, ...]
    because: str


@attrs.frozen
class OnVirtualTime:
    """Steps that would take too long where time is real."""

    steps: tuple[Step, ...]


Step = (
    Connect
    | Send
    | HalfClose
    | Close
    | Expect
    | ExpectBytes
    | ExpectEof
    | Silence
    | Advance
    | StartTls
    | RefuseTls
    | StartCompression
    | ExpectTopic
    | ExpectNoTopic
    | ExpectNoChannel
    | ExpectChannel
    | ExpectClient
    | ExpectProducer
    | Manage
    | AuthAnswers
    | ExpectAuthRequests
    | Differs
    | OnVirtualTime
    | HttpStep
)


@attrs.frozen
class Server:
    """What a server must be for a transcript: options by nsqd's names, what is beside it, and who has it alone."""

    options: tuple[tuple[str, Any], ...] = ()
    has_tls: bool = False
    has_auth: bool = False
    alone: str = ""


def server(*, tls: bool = False, auth: bool = False, alone: str = "", **options: Any) -> Server:
    """Describe a server. Times are seconds; a word in `alone` gives it to one transcript only."""
    return Server(tuple(sorted(options.items())), tls, auth, alone)


@attrs.frozen
class Transcript:
    """One conversation that every server must have.

    Attributes:
        check: Number of the check in the behavioural reference of which it is a part.
        name: What tells it from others of that check, in snake case.
        rule: What it shows, in one sentence.
        steps: The conversation.
        server: The server it needs.
    """

    check: int
    name: str
    rule: str
    steps: tuple[Step, ...]
    server: Server = Server()

    def __str__(self) -> str:
        """Name it in the output of pytest."""
        return f"check_{self.check:03}_{self.name}"


def after(seconds: float, *steps: Step, by: str = "A") -> tuple[Step, ...]:
    """Nothing comes to `by` until, when so many seconds have passed, these steps follow."""
    return (Silence(seconds - 0.001, by), Advance(0.001), *steps)
