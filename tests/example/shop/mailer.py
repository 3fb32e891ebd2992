"""Mails for orders, on pynsq: retries, dead letters, and a reminder half an hour later."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import nsq

from shop.post import PostError

REMINDER_MS = 30 * 60 * 1000
Post = Callable[[str, str], Awaitable[None]]


class Publisher(nsq.Writer):
    """A Writer whose answers are awaited."""

    def __init__(self, address: str, reconnect_interval: float) -> None:
        self.is_ready = asyncio.Event()
        super().__init__([address], reconnect_interval=reconnect_interval)

    def _on_connection_ready(self, conn: Any, **kwargs: Any) -> None:
        super()._on_connection_ready(conn, **kwargs)
        self.is_ready.set()

    def _on_connection_close(self, conn: Any, **kwargs: Any) -> None:
        self.is_ready.clear()
        super()._on_connection_close(conn, **kwargs)

    async def publish(self, topic: str, body: bytes, delay_ms: int = 0) -> None:
        """Publish, and return once nsqd has said OK; without a connection this waits for one."""
        await self.is_ready.wait()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(_: Any, data: Any) -> None:
            if not answer.done():  # pynsq tells an error twice when it ends the connection
                answer.set_result(data)

        if delay_ms:
            self.dpub(topic, delay_ms, body, callback=answered)
        else:
            self.pub(topic, body, callback=answered)
        data = await answer
        if isinstance(data, Exception):
            raise data


class Mailer:
    """Reads `orders` and `reminders`, and posts a mail for each message.

    An order whose mail cannot be sent is tried again, later each time; after `max_attempts` it goes to `orders.dead`.
    """

    def __init__(
        self,
        nsqd_tcp_address: str,
        post: Post,
        *,
        max_attempts: int = 5,
        retry_seconds: int = 60,
        max_backoff_seconds: float = 120,
        reconnect_seconds: float = 15,
    ) -> None:
        self._address = nsqd_tcp_address
        self._post = post
        self._max_attempts = max_attempts
        self._retry_seconds = retry_seconds
        self._max_backoff_seconds = max_backoff_seconds
        self._reconnect_seconds = reconnect_seconds
        self._readers: list[nsq.Reader] = []

    async def start(self) -> None:
        """Connect; return once it can publish."""
        self._publisher = Publisher(self._address, self._reconnect_seconds)
        await self._publisher.is_ready.wait()
        self._readers = [self._reader("orders", self._on_order), self._reader("reminders", self._on_reminder)]

    async def stop(self) -> None:
        """Hang up."""
        for client in (*self._readers, self._publisher):
            for conn in list(client.conns.values()):
                conn.close()

    def _reader(self, topic: str, handler: Callable[[nsq.Message], Awaitable[bool]]) -> nsq.Reader:
        return nsq.Reader(
            topic,
            "mail",
            handler,
            nsqd_tcp_addresses=[self._address],
            max_tries=0,  # giving up is done here, with a dead letter
            max_backoff_duration=self._max_backoff_seconds,
        )

    async def _on_order(self, message: nsq.Message) -> bool:
        order = json.loads(message.body)
        try:
            await self._post(order["mail"], f"Thank you for order {order['id']}.")
            await self._publisher.publish("reminders", message.body, REMINDER_MS)
        except PostError:
            if message.attempts < self._max_attempts:
                return self._try_again(message)
            await self._publisher.publish("orders.dead", message.body)
        except nsq.Error:
            return self._try_again(message)
        return True

    async def _on_reminder(self, message: nsq.Message) -> bool:
        order = json.loads(message.body)
        try:
            await self._post(order["mail"], f"How do you like order {order['id']}?")
        except PostError:
            return self._try_again(message)
        return True

    def _try_again(self, message: nsq.Message) -> bool:
        """Requeue it for twice as long each time; pynsq holds all messages back for a moment, too."""
        message.requeue(time_ms=self._retry_seconds * 1000 * 2 ** (message.attempts - 1))
        return False


async def serve(post: Post) -> None:
    """Run until killed."""
    await Mailer(os.environ["NSQD_TCP_ADDRESS"], post).start()
    await asyncio.Event().wait()
