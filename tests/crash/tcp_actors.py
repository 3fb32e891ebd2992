"""A publisher and a consumer outside, on plain sockets.

They work until the connection breaks, or until they are told to stop.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import threading
from typing import Final

from tests.crash.tcp_witness import Witness
from tests.power.promises import BrokenPromiseError, body_of

_HEARTBEAT: Final = b"_heartbeat_"
_PATIENCE_SECONDS: Final = 30
_RESPONSE, _MESSAGE = 0, 2


class Wire:
    """A connection that speaks NSQ's frames.

    Raises:
        OSError: From every method, when the node is gone.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self.send(b"  V2")

    def send(self, *parts: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(b"".join(parts))

    def has_more(self, seconds: float) -> bool:
        """Whether something comes within so many seconds."""
        return bool(self._got or select.select([self._socket], [], [], seconds)[0])

    def frame(self) -> tuple[int, bytes]:
        """The next frame that is no heartbeat: its type and its data.

        Raises:
            BrokenPromiseError: If it is an error.
        """
        while True:
            size, kind = struct.unpack(">Ii", self._take(8))
            data = self._take(size - 4)
            if kind not in {_RESPONSE, _MESSAGE}:
                raise BrokenPromiseError(f"the node answered {data!r}")
            if data != _HEARTBEAT:
                return kind, data
            self.send(b"NOP\n")

    def expect(self, wanted: bytes) -> None:
        """Read a response.

        Raises:
            BrokenPromiseError: If it is another.
        """
        if (got := self.frame()) != (_RESPONSE, wanted):
            raise BrokenPromiseError(f"the node answered {got!r} where {wanted!r} is due")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _take(self, count: int) -> bytes:
        while len(self._got) < count:
            got = self._socket.recv(65_536)
            if not got:
                raise ConnectionResetError("the node is gone")
            self._got += got
        taken, self._got = self._got[:count], self._got[count:]
        return taken


def publish(port: int, topic: str, rng: random.Random, witness: Witness, stop: threading.Event) -> None:
    """Send PUB, MPUB and DPUB, several at a time before the first is answered."""
    if not witness.wait_for_channels(stop, _PATIENCE_SECONDS):
        return
    try:
        wire = Wire(port)
    except OSError:
        return
    try:
        while not stop.is_set():
            numbers, commands = [], []
            for _ in range(rng.choice((1, 1, 3, 8))):
                count = rng.choice((1, 1, rng.randrange(2, 40)))
                numbers.append(witness.sending(topic, count))
                commands.append(_command(topic, numbers[-1], rng))
            wire.send(*commands)
            for each in numbers:
                wire.expect(b"OK")
                witness.answered(topic, each)
    except OSError:
        return
    finally:
        wire.close()


def _command(topic: str, numbers: range, rng: random.Random) -> bytes:
    """What publishes these messages."""
    bodies = [struct.pack(">I", len(body)) + body for body in map(body_of, numbers)]
    if len(bodies) > 1 or rng.random() < 0.2:
        whole = struct.pack(">I", len(bodies)) + b"".join(bodies)
        return b"MPUB %s\n" % topic.encode() + struct.pack(">I", len(whole)) + whole
    if rng.random() < 0.2:
        return b"DPUB %s %d\n" % (topic.encode(), rng.choice((0, 1, 50, 300))) + bodies[0]
    return b"PUB %s\n" % topic.encode() + bodies[0]


class Consumer:
    """One consumer of one channel, in one life of the node."""

    def __init__(self, port: int, channel: str, rng: random.Random, witness: Witness) -> None:
        self._channel, self._rng, self._witness = channel, rng, witness
        self._ready = rng.choice((1, 1, 5, 60))
        self._held: list[tuple[bytes, int]] = []
        self._finished: list[int] = []  # and not known to be over
        self._wire = Wire(port)

    def work(self, stop: threading.Event, *, only_finish: bool) -> None:
        """Take messages and answer them until the node is gone or all is told to stop.

        Raises:
            BrokenPromiseError: If something comes that may not.
        """
        try:
            self._subscribe()
            while not stop.is_set():
                if self._wire.has_more(0.02):
                    self._take(only_finish=only_finish)
                elif self._held:
                    self._answer(b"FIN", *self._held.pop())
            self._leave()
        except OSError:
            return
        finally:
            self._wire.close()

    def _subscribe(self) -> None:
        if self._rng.random() < 0.5:
            asked = {"output_buffer_size": self._rng.choice((-1, 64, 16_384)), "output_buffer_timeout": 25}
            body = json.dumps(asked).encode()
            self._wire.send(b"IDENTIFY\n", struct.pack(">I", len(body)), body)
            self._wire.expect(b"OK")
        self._wire.send(b"SUB %s %s\n" % tuple(self._channel.encode().split(b"/")))
        self._wire.expect(b"OK")
        self._witness.subscribed(self._channel)
        self._wire.send(b"RDY %d\n" % self._ready)

    def _take(self, *, only_finish: bool) -> None:
        """Take a message, and answer it or another that is held."""
        _, data = self._wire.frame()
        if self._ready == 1:  # it was handed over because there was room: the finish before is known
            self._witness.over(self._channel, self._finished)
            self._finished.clear()
        message_id = data[10:26]
        attempts = int.from_bytes(data[8:10])
        number = self._witness.handed(self._channel, (message_id, data[:8]), attempts, data[26:])
        dice = self._rng.random()
        if only_finish or dice < 0.75:
            self._answer(b"FIN", message_id, number)
        elif dice < 0.90:
            self._answer(b"REQ", message_id, number)
        elif dice < 0.95:
            self._wire.send(b"TOUCH %s\n" % message_id)
            self._held.append((message_id, number))
        else:
            self._held.append((message_id, number))

    def _answer(self, verb: bytes, message_id: bytes, number: int) -> None:
        if verb == b"FIN":
            self._witness.finishing(self._channel, number)
            self._wire.send(b"FIN %s\n" % message_id)
            self._finished.append(number)
        else:
            self._wire.send(b"REQ %s %d\n" % (message_id, self._rng.choice((0, 0, 1, 200))))

    def _leave(self) -> None:
        """Say CLS: what was finished before it is over once it is answered."""
        self._wire.send(b"CLS\n")
        while True:
            kind, data = self._wire.frame()
            if kind == _RESPONSE and data == b"CLOSE_WAIT":
                break
        self._witness.over(self._channel, self._finished)
