r"""One nsqlookupd, told what this node has: connected, told anew after every loss, pinged.

    connect, "  V1", IDENTIFY\n u32(size) json      who this node is, and who that nsqlookupd is
    REGISTER t\n  or, for each channel, REGISTER t c\n
    then what changes: REGISTER t [c]\n, UNREGISTER t [c]\n; every 15 seconds PING\n

What is told is found by comparing what that connection was told with what there is, by the
numbers of topics and channels: one that was deleted and made again is another one, so it is
unregistered and registered, which also ends a tombstone.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from nsqlite.clock import Clock
from nsqlite.net.binding import shown
from nsqlite.net.lookup_link import LookupFailedError, LookupLink, connect
from nsqlite.net.protocol import go_json
from nsqlite.net.protocol.negotiation import VERSION
from nsqlite.options import SECOND_NS

MAGIC: Final = b"  V1"
PING_NS: Final = 15 * SECOND_NS
RETRY_NS: Final = SECOND_NS
MAX_TOLD_BYTES: Final = 200
_ERROR: Final = b"E_"
_INFO: Final[dict[str, go_json.Reader]] = {
    "broadcast_address": go_json.text,
    "http_port": go_json.int64,
    "tcp_port": go_json.int64,
    "version": go_json.text,
}
log: Final = logging.getLogger("nsqlite")

# By name of the topic its number, and by name of the channel the numbers of its channels.
Registry = Mapping[str, tuple[int, Mapping[str, int]]]


@attrs.frozen(kw_only=True)
class Identity:
    """What an nsqlookupd tells others about this node.

    Attributes:
        broadcast_address: Where it is reached.
        hostname: What its host calls itself.
        tcp_port: Where its protocol is served.
        http_port: The same for HTTP. An nsqlookupd refuses a 0.
        topology_region: Where it is; told only if it is set, since nsqd 1.3.0 tells none.
        topology_zone: The same, within the region.
    """

    broadcast_address: str
    hostname: str
    tcp_port: int
    http_port: int
    topology_region: str = ""
    topology_zone: str = ""

    def command(self) -> bytes:
        """IDENTIFY, whose keys are in order, as in Go."""
        fields = attrs.asdict(self, filter=lambda _, value: value != "") | {"version": VERSION}
        body = go_json.encode(dict(sorted(fields.items())))
        return b"IDENTIFY\n" + struct.pack(">I", len(body)) + body


def difference(told: Registry, wanted: Registry) -> list[bytes]:
    """The commands that bring an nsqlookupd from what it was told to what it is to know."""
    commands = []
    for topic, (number, channels) in told.items():
        is_there = topic in wanted and wanted[topic][0] == number
        left = wanted[topic][1] if is_there else {}
        commands += [_line("UNREGISTER", topic, name) for name, each in channels.items() if left.get(name) != each]
        if not is_there:
            commands.append(_line("UNREGISTER", topic))
    for topic, (number, channels) in wanted.items():
        is_known = topic in told and told[topic][0] == number
        known = told[topic][1] if is_known else {}
        commands += [_line("REGISTER", topic, name) for name, each in channels.items() if known.get(name) != each]
        if not channels and not is_known:
            commands.append(_line("REGISTER", topic))
    return commands


def _line(*words: str) -> bytes:
    return " ".join(words).encode() + b"\n"


class LookupPeer:
    """One nsqlookupd, attended to by a task of the loop.

    Attributes:
        address: host:port of its TCP protocol.
        http_address: host:port of its HTTP API, as it last said; "" before it did.
    """

    def __init__(
        self, address: str, clock: Clock, identity: Identity, registry: Callable[[], Registry], max_body_size: int
    ) -> None:
        self.address = address
        self.http_address = ""
        self._clock = clock
        self._identity = identity
        self._registry = registry
        self._max_body_size = max_body_size
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._has_changed = False
        self._is_failing = False
        self._retry_ns = RETRY_NS
        self._task = self._loop.create_task(self._run())

    def changed(self) -> None:
        """There is something to tell."""
        self._has_changed = True
        self._stirred.set()

    async def close(self) -> None:
        """Hang up, without a word. Twice is fine."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        while True:
            begun_ns = self._clock.monotonic_ns()
            self._has_changed = False  # it is told now, or a change that comes meanwhile has it tried again soon
            try:
                await self._attend()
            except LookupFailedError as error:
                self._complain(error)
            await self._rest(begun_ns)

    async def _attend(self) -> None:
        """One connection, from its first byte to its last.

        Raises:
            LookupFailedError: When it is over.
        """
        link = await connect(self._clock, self.address, self._max_body_size, self._stirred.set)
        try:
            self._take_info(await link.ask(MAGIC + self._identity.command()))
            ping_ns = self._clock.monotonic_ns() + PING_NS
            told: Registry = {}
            while link.error is None:
                told = await self._tell(link, told)
                self._is_well()
                if self._clock.monotonic_ns() >= ping_ns:
                    await self._say(link, b"PING\n")
                    while ping_ns <= self._clock.monotonic_ns():
                        ping_ns += PING_NS
                if not self._has_changed and link.error is None:
                    await self._await_stir(ping_ns)
            raise link.error
        finally:
            link.close()

    async def _tell(self, link: LookupLink, told: Registry) -> Registry:
        """Tell what has changed; return what was told now."""
        self._has_changed = False
        wanted = self._registry()
        if wanted is not told:
            for command in difference(told, wanted):
                await self._say(link, command)
        return wanted

    async def _say(self, link: LookupLink, command: bytes) -> None:
        response = await link.ask(command)
        if response.startswith(_ERROR):
            raise LookupFailedError(f"{command.decode().strip()} was refused: {_excerpt(response)}")

    def _take_info(self, response: bytes) -> None:
        try:
            info = go_json.read_fields(go_json.decode(response), _INFO)
        except ValueError as error:
            raise LookupFailedError(f"IDENTIFY was refused: {_excerpt(response)}") from error
        host = info.get("broadcast_address", "")
        self.http_address = shown((host, info.get("http_port", 0))) if host else ""

    def _is_well(self) -> None:
        self._retry_ns = RETRY_NS
        if self._is_failing:
            self._is_failing = False
            log.info("LOOKUPD(%s): registered", self.address, extra={"event": "lookupd_registered"})

    def _complain(self, error: LookupFailedError) -> None:
        """Say what is wrong, once until it goes well again."""
        if not self._is_failing:
            self._is_failing = True
            log.warning("LOOKUPD(%s): %s", self.address, error, extra={"event": "lookupd_failed"})

    # -- waiting --------------------------------------------------------------------------

    async def _rest(self, begun_ns: int) -> None:
        """Let some time pass since the last attempt began: longer each time, but a second is enough for a change."""
        retry_ns, self._retry_ns = self._retry_ns, min(2 * self._retry_ns, PING_NS)
        while self._clock.monotonic_ns() < begun_ns + (RETRY_NS if self._has_changed else retry_ns):
            await self._await_stir(begun_ns + (RETRY_NS if self._has_changed else retry_ns))

    async def _await_stir(self, until_ns: int) -> None:
        """Return when something happened, or a time has come."""
        self._stirred.clear()
        alarm = self._clock.call_at(self._loop, until_ns, self._stirred.set)
        try:
            await self._stirred.wait()
        finally:
            alarm.cancel()


def _excerpt(response: bytes) -> str:
    return ascii(response[:MAX_TOLD_BYTES].decode("utf-8", "replace"))[1:-1]
