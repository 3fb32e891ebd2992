"""The stock, on nsqlite: a thread takes articles from the shelf, a task tells what has to be bought."""

import json
import threading
from collections import Counter

import nsqlite
import nsqlite.aio

RETRY_SECONDS = 3600.0
MAX_ATTEMPTS = 3


class Picker:
    """Takes the article of each order from the shelf, in a thread of its own.

    What is not there is tried again every hour; the third time the order goes to `orders.dead`.
    """

    def __init__(self, node: nsqlite.Node, shelf: Counter[str]) -> None:
        self._node = node
        self._shelf = shelf
        self._consumer = node.topic("orders").channel("stock").consume()
        self._thread = threading.Thread(target=self._work, name="picker")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, once the order in hand is done."""
        self._consumer.close()
        self._thread.join()

    def _work(self) -> None:
        for message in self._consumer:
            with message:
                self._pick(message)

    def _pick(self, message: nsqlite.Message) -> None:
        article = json.loads(message.body)["article"]
        if self._shelf[article]:
            self._shelf[article] -= 1
            if not self._shelf[article]:
                self._node.publish("sold-out", article.encode())
        elif message.attempts < MAX_ATTEMPTS:
            message.requeue(RETRY_SECONDS)
        else:
            self._node.publish("orders.dead", message.body)


async def buy(node: nsqlite.aio.Node, message: nsqlite.aio.Message) -> None:
    """Ask the supplier for what is sold out, and look a day later whether it came."""
    await node.publish("supplier", b"please send " + message.body)
    await node.publish("look-for", message.body, delay=24 * 3600)


async def buyer(node: nsqlite.aio.Node) -> None:
    """Buy what is sold out, until cancelled."""
    async with node.topic("sold-out").channel("buyer").consume() as consumer:
        async for message in consumer:
            async with message:
                await buy(node, message)
