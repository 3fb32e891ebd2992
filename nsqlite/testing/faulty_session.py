"""A client's commands, carried out as told: refused, late, or without anybody hearing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nsqlite.core.broker import Broker
from nsqlite.net.protocol import commands
from nsqlite.net.protocol.commands import PARSERS, Command, Fin, Req, Touch
from nsqlite.net.protocol.errors import ProtocolError
from nsqlite.net.session import Session
from nsqlite.net.tcp_server import TcpServer
from nsqlite.testing.faults import CODES, DELAY, DUPLICATE, FAIL, Fault, Place
from nsqlite.testing.watching import WatchedChannel

if TYPE_CHECKING:
    from nsqlite.testing.faulty_peer import FaultyPeer

# MPUB stands for its body: its line is never hit.
NAMES: Final[dict[type[Command], str]] = {kind: name.decode() for name, (kind, _) in PARSERS.items()}


class FaultySession(Session):
    """A session that meets faults."""

    def __init__(self, server: TcpServer, peer: FaultyPeer) -> None:
        super().__init__(server, peer)
        self._faulty = peer
        self._faults = peer.faults

    def place(self, name: str, command: Command | None = None) -> Place:
        """Where a fault would strike."""
        channel = None if self.subscription is None else self.subscription.channel
        topic_name = getattr(command, "topic", "") or ("" if channel is None else channel.topic.name)
        channel_name = getattr(command, "channel", "") or ("" if channel is None else channel.name)
        return Place(name, topic_name, channel_name, self._faulty.agreement.client_id, self._faulty.number)

    def handle(self, command: Command) -> None:
        """See Session."""
        self._faulty.heard()
        name = NAMES.get(type(command))
        if name is None or not self._faults.concern(name):
            super().handle(command)
        elif isinstance(command, Fin):
            self._handle_fins(command)
        else:
            self._meet(name, command)

    def _handle_fins(self, command: Fin) -> None:
        """Each by itself: they come in one piece, and one fault strikes one of them."""
        for number in command.numbers:
            try:
                self._meet("FIN", Fin((number,), command.raw or b"%016x" % number))
            except ProtocolError as refusal:
                self._faulty.refuse(refusal)
            if self._faulty.is_closing:
                return

    def _meet(self, name: str, command: Command) -> None:
        fault = self._faults.meet(self.place(name, command))
        if fault is None:
            super().handle(command)
        elif fault.kind == FAIL:
            raise refusal(fault, command)
        elif fault.kind == DELAY:
            self._begin(self._handle_late(command, fault.seconds))
        elif fault.kind == DUPLICATE:
            assert isinstance(command, Fin), "nothing but a FIN is duplicated"
            self._finish_in_vain(command)
        elif not fault.is_carried_out:
            self._faulty.reset()
        else:
            self._faulty.break_answer(fault)
            super().handle(command)
            self._faulty.break_without_answer()

    async def _handle_late(self, command: Command, seconds: float) -> None:
        """Also if the client has gone meanwhile: a slow server has read what it has read."""
        if await self._faults.pause(seconds):
            super().handle(command)

    def _finish_in_vain(self, command: Fin) -> None:
        """Take a FIN as ever, and have the message again all the same."""
        subscription = self._subscribed()
        (number,) = command.numbers
        assert subscription.consumer.held is not None
        held = subscription.consumer.held

        def work(broker: Broker) -> bool:
            channel, delivery = subscription.channel, held.find(number)
            assert isinstance(channel, WatchedChannel), "the channels of a node under test are watched"
            if delivery is None:
                return False
            is_done = channel.finish_in_vain(delivery.first_seq + number - delivery.first_id, delivery)
            broker.attend(channel)
            return is_done

        if self._engine.locked(work):
            self._engine.wake()
            self._peer.may_pump = True
        else:
            super().handle(command)  # which refuses it: the client does not hold it


def refusal(fault: Fault, command: commands.Command) -> ProtocolError:
    """What a client is told, in nsqd's words unless the test has its own."""
    name = fault.command
    if fault.message:
        text = fault.message
    elif isinstance(command, Fin | Req | Touch):
        text = f"{name} {command.raw.decode(errors='replace')} failed ID not in flight"
    else:
        text = f"{name} failed by the test"
    return CODES[fault.code](text)
