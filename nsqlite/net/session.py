"""One client's commands, carried out: where the protocol meets the engine.

Most commands are done at once. What must wait (a sync, room, a topic to be made, an auth
server) keeps the peer busy meanwhile, so that a client's commands happen one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from nsqlite.core.channel import Channel
from nsqlite.errors import (
    ChannelDeletedError,
    ClosedError,
    NodeFailedError,
    NsqliteError,
    StoreError,
    TooManyConsumersError,
    TopicDeletedError,
)
from nsqlite.net.protocol import commands, wire
from nsqlite.net.protocol.errors import (
    AuthDisabledError,
    AuthFailedError,
    AuthFirstError,
    DpubFailedError,
    InvalidError,
    MpubFailedError,
    ProtocolError,
    PubFailedError,
    SubFailedError,
    UnauthorizedError,
)
from nsqlite.net.protocol.negotiation import MILLISECOND_NS, negotiate, parse_identify, response
from nsqlite.net.subscription import Subscription
from nsqlite.ops import Op, Publish
from nsqlite.options import SECOND_NS
from nsqlite.stats import ClientStats, PubCount

if TYPE_CHECKING:
    from nsqlite.net.peer import Peer
    from nsqlite.net.protocol.permissions import Permissions
    from nsqlite.net.tcp_server import TcpServer

SUB_TRIES: Final = 3
_FAILED: Final[dict[str, type[ProtocolError]]] = {
    "PUB": PubFailedError,
    "MPUB": MpubFailedError,
    "DPUB": DpubFailedError,
}


class Session:
    """What one client may do, and has done.

    Attributes:
        subscription: What it consumes, once it has sent SUB.
        pub_counts: Messages it published, by topic.
    """

    def __init__(self, server: TcpServer, peer: Peer) -> None:
        self._server = server
        self._engine = server.engine
        self._door = server.door
        self._peer = peer
        self._connect_ns = server.engine.clock.wall_ns()
        self._permissions: Permissions | None = None
        self._secret = b""
        self.subscription: Subscription | None = None
        self.pub_counts: dict[str, int] = {}

    def handle(self, command: commands.Command) -> None:
        """Carry a command out, or begin to. Hot.

        Raises:
            ProtocolError: What the client is to be told.
        """
        _HANDLERS[type(command)](self, command)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._peer.begin(work)

    # -- who the client is ----------------------------------------------------------------

    def _identify(self, command: commands.Identify) -> None:
        peer, terms = self._peer, self._server.terms
        agreement = negotiate(parse_identify(command.body), terms)
        peer.agree(agreement, response(agreement, terms))

    def _auth(self, command: commands.Auth) -> None:
        if self._permissions is not None:
            raise InvalidError("AUTH already set")
        if self._server.auth is None:
            raise AuthDisabledError("AUTH disabled")
        self._secret = command.body
        self._begin(self._log_in())

    async def _log_in(self) -> None:
        permissions = await self._ask_auth()
        if not permissions.authorizations:
            raise UnauthorizedError("AUTH no authorizations found")
        self._permissions = permissions
        self._peer.reply(wire.frame(wire.RESPONSE, permissions.reply()))

    async def _ask_auth(self) -> Permissions:
        from nsqlite.net.auth import AuthQueryError

        assert self._server.auth is not None
        tls = self._peer.tls_description
        try:
            permissions = await self._server.auth.query(
                remote_ip=self._peer.remote_ip,
                is_tls=tls is not None,
                common_name="" if tls is None else tls.common_name,
                secret=self._secret,
                now_ns=self._engine.clock.monotonic_ns(),
            )
        except AuthQueryError as error:
            self._server.auth_failed(error)
            raise AuthFailedError("AUTH failed") from error
        self._server.is_auth_told = False
        return permissions

    def _may(self, command: commands.Command, name: str, topic: str, channel: str = "") -> bool:
        """Whether a command may go on now; False if it does so by itself, once its permissions are renewed.

        Raises:
            AuthFirstError, UnauthorizedError: It may not.
        """
        if self._server.auth is None:
            return True
        permissions = self._permissions
        if permissions is None:
            raise AuthFirstError(f"AUTH required before {name}")
        if permissions.is_expired(self._engine.clock.monotonic_ns()):
            self._begin(self._renew(command))
            return False
        if not permissions.is_allowed("subscribe" if channel else "publish", topic, channel):
            raise UnauthorizedError(f'AUTH failed for {name} on "{topic}" "{channel}"')
        return True

    async def _renew(self, command: commands.Command) -> None:
        self._permissions = await self._ask_auth()
        self.handle(command)

    # -- publishing -----------------------------------------------------------------------

    def _pub(self, command: commands.Pub) -> None:
        if self._may(command, "PUB", command.topic):
            self._publish_one("PUB", command.topic, [command.body])

    def _publish_one(self, name: str, topic_name: str, bodies: Sequence[bytes]) -> None:
        """Hot: one message, below "fsync", to a topic that is there (benchmarks/net)."""
        engine = self._engine
        topic = engine.broker.topics.get(topic_name)
        if topic is None or engine.is_synced:
            self._publish(name, topic_name, bodies)
            return
        try:
            engine.publish_one_now(topic, bodies[0])
        except NsqliteError:
            self._publish(name, topic_name, bodies)
            return
        self._published(topic_name, 1)

    def _dpub(self, command: commands.Dpub) -> None:
        if self._may(command, "DPUB", command.topic):
            self._publish("DPUB", command.topic, [command.body], command.delay_ms * MILLISECOND_NS)

    def _mpub_begun(self, command: commands.MpubBegun) -> None:
        """As nsqd does, make the topic before the body is read, and whatever is in it."""
        if self._may(command, "MPUB", command.topic) and command.topic not in self._engine.broker.topics:
            self._begin(self._make_ahead(command.topic))

    async def _make_ahead(self, name: str) -> None:
        try:
            await self._server.topics.get(name)
        except (StoreError, ClosedError, NodeFailedError) as error:
            raise MpubFailedError(f"MPUB failed {self._cause(error)}") from error

    def _mpub(self, command: commands.Mpub) -> None:
        publish = self._publish_one if len(command.bodies) == 1 else self._publish
        publish("MPUB", command.topic, command.bodies)

    def _publish(self, name: str, topic_name: str, bodies: Sequence[bytes], delay_ns: int = 0) -> None:
        """Publish in this round of the loop, or in the sync of this round; else in a task."""
        engine = self._engine
        topic = engine.broker.topics.get(topic_name)
        if topic is None:
            self._begin(self._publish_slowly(name, topic_name, bodies, delay_ns))
            return
        op = Publish(topic, bodies, delay_ns)
        if engine.is_synced:
            self._peer.hold()
            self._door.ask(op, lambda op: self._synced(op, name, topic_name, bodies, delay_ns))
            return
        try:
            engine.carry_out(op)
        except StoreError:
            self._begin(self._publish_slowly(name, topic_name, bodies, delay_ns))
        except (ClosedError, NodeFailedError) as error:
            raise _FAILED[name](f"{name} failed {self._cause(error)}") from error
        else:
            self._kept(op, name, topic_name, bodies, delay_ns)

    def _kept(self, op: Op, name: str, topic_name: str, bodies: Sequence[bytes], delay_ns: int) -> None:
        """A publish has its outcome."""
        if op.error is None:
            self._published(topic_name, len(bodies))
        elif isinstance(op.error, TopicDeletedError):
            self._begin(self._publish_slowly(name, topic_name, bodies, delay_ns))
        else:
            self._peer.refuse(_FAILED[name](f"{name} failed {self._cause(op.error)}"))

    def _synced(self, *publish: Any) -> None:
        """A publish that was waited for has its outcome."""
        self._kept(*publish)
        self._peer.release()

    async def _publish_slowly(self, name: str, topic_name: str, bodies: Sequence[bytes], delay_ns: int) -> None:
        """Publish to a topic that must be made first, or wait for room."""
        try:
            while True:
                topic = await self._server.topics.get(topic_name)
                try:
                    await self._door.run(lambda topic=topic: Publish(topic, bodies, delay_ns))  # type: ignore[misc]
                    break
                except TopicDeletedError:
                    continue  # deleted this moment; the publish makes it anew
        except (StoreError, ClosedError, NodeFailedError) as error:
            raise _FAILED[name](f"{name} failed {self._cause(error)}") from error
        self._published(topic_name, len(bodies))

    def _published(self, topic_name: str, count: int) -> None:
        counts = self.pub_counts
        counts[topic_name] = counts.get(topic_name, 0) + count
        self._peer.reply(wire.OK)

    # -- consuming ------------------------------------------------------------------------

    def _sub(self, command: commands.Sub) -> None:
        if self._may(command, "SUB", command.topic, command.channel):
            self._begin(self._subscribe(command))

    async def _subscribe(self, command: commands.Sub) -> None:
        for _ in range(SUB_TRIES):
            try:
                channel = await self._channel(command.topic, command.channel)
                self.subscription = Subscription(self._peer, self._door, channel, self.stats)
            except (TopicDeletedError, ChannelDeletedError):
                continue  # an ephemeral one went with its last user
            except TooManyConsumersError as error:
                names = f"{command.topic}:{command.channel}"
                raise SubFailedError(f"SUB failed consumers for {names} exceeds limit of {error.limit}") from error
            except (StoreError, ClosedError, NodeFailedError) as error:
                raise SubFailedError(f"SUB failed {self._cause(error)}") from error
            if self._peer.is_closing:  # meanwhile, and whoever takes it off its channel has passed by
                self.leave()
            self._peer.reply(wire.OK)
            return
        raise SubFailedError("SUB failed to deleted topic/channel")

    async def _channel(self, topic_name: str, name: str) -> Channel:
        topic = await self._server.topics.get(topic_name)
        channel = topic.channels.get(name)
        if channel is not None:
            return channel
        made: Channel = await self._door.work(lambda: self._engine.run(self._engine.make_channel(topic, name)))
        return made

    def _rdy(self, command: commands.Rdy) -> None:
        self._subscribed().set_ready(command.count)
        self._peer.may_pump = True

    def _fin(self, command: commands.Fin) -> None:
        for refusal in self._subscribed().finish(command):
            self._peer.refuse(refusal)
        self._peer.may_pump = True

    def _req(self, command: commands.Req) -> None:
        self._peer.may_pump = True
        self._subscribed().requeue(command)

    def _touch(self, command: commands.Touch) -> None:
        self._subscribed().touch(command)

    def _cls(self, command: commands.Cls) -> None:
        self._subscribed().set_ready(0)
        self._peer.reply(wire.CLOSE_WAIT)

    def _subscribed(self) -> Subscription:
        assert self.subscription is not None, "the table of states lets nobody answer before SUB"
        return self.subscription

    def _nop(self, command: commands.Nop) -> None:
        """A sign of life, which the peer has noted."""

    # -- the rest -------------------------------------------------------------------------

    def stats(self) -> ClientStats:
        """A frozen snapshot of who the client is and what it did."""
        peer, agreement, tls, permissions = (
            self._peer,
            self._peer.agreement,
            self._peer.tls_description,
            self._permissions,
        )
        consumer = None if self.subscription is None else self.subscription.consumer
        return ClientStats(
            client_id=agreement.client_id,
            ready_count=0 if consumer is None else consumer.rdy_count,
            in_flight_count=0 if consumer is None else consumer.in_flight_count,
            message_count=0 if consumer is None else consumer.message_count,
            finish_count=0 if consumer is None else consumer.finish_count,
            requeue_count=0 if consumer is None else consumer.requeue_count,
            hostname=agreement.hostname,
            user_agent=agreement.user_agent,
            version="V2",
            remote_address=peer.remote_address,
            state=peer.state.value,
            connect_ts=self._connect_ns // SECOND_NS,
            sample_rate=agreement.sample_rate,
            deflate=agreement.deflate,
            snappy=agreement.snappy,
            tls=tls is not None,
            tls_version="" if tls is None else tls.version,
            tls_cipher_suite="" if tls is None else tls.cipher_suite,
            tls_negotiated_protocol_is_mutual=tls is not None and tls.is_mutual,
            authed=permissions is not None,
            auth_identity="" if permissions is None else permissions.identity,
            auth_identity_url="" if permissions is None else permissions.identity_url,
            topology_region=agreement.topology_region,
            topology_zone=agreement.topology_zone,
            pub_counts=tuple(PubCount(topic, count) for topic, count in list(self.pub_counts.items())),
        )

    def _cause(self, error: BaseException) -> str:
        """Why a promise was refused, in nsqd's word where it has one."""
        self._server.fullness.tell(error)
        return "exiting" if isinstance(error, (ClosedError, NodeFailedError)) else str(error)

    def leave(self) -> None:
        """Take part in nothing any more."""
        if self.subscription is not None and self.subscription.leave():
            self._server.begin(self.subscription.delete_channel())


_HANDLERS: Final[dict[type[commands.Command], Callable[[Session, Any], None]]] = {
    commands.Identify: Session._identify,
    commands.Auth: Session._auth,
    commands.Sub: Session._sub,
    commands.Pub: Session._pub,
    commands.Dpub: Session._dpub,
    commands.MpubBegun: Session._mpub_begun,
    commands.Mpub: Session._mpub,
    commands.Rdy: Session._rdy,
    commands.Fin: Session._fin,
    commands.Req: Session._req,
    commands.Touch: Session._touch,
    commands.Cls: Session._cls,
    commands.Nop: Session._nop,
}
