"""Types: strict for the package, and shipped to those who import it."""

from pathlib import Path

from tests.meta.project import PACKAGE, must_succeed, run, tool


def test_types_are_strict() -> None:
    """The type checker has no complaint in strict mode."""
    must_succeed(run(tool("mypy")))


def test_types_are_shipped() -> None:
    """The marker file that lets a user's type checker read ours is there."""
    assert (PACKAGE / "py.typed").exists()


USER = """
from typing import assert_type

import nsqlite
from nsqlite import Message, Node, StoreFullError

node: Node = nsqlite.open("store", durability="commit", max_msg_size=1024)
topic: nsqlite.Topic = node.topic("orders")
assert_type(topic.channel("billing").receive(timeout=1.0), Message | None)
assert_type(topic.publish_many([b"a", b"b"]), list[bytes])
assert_type(node.stats().topics[0].depth, int)


async def consume() -> None:
    billing = nsqlite.aio.face(node).topic("orders").channel("billing")
    try:
        async for message in billing.consume(max_in_flight=10):
            assert_type(message.body, bytes)
            await message.finish()
    except StoreFullError as error:
        print(error)
"""


def test_types_reach_the_user(tmp_path: Path) -> None:
    """Somebody who imports only the root gets every type, though its names are loaded lazily."""
    program = tmp_path / "program.py"
    program.write_text(USER, encoding="utf-8")

    must_succeed(run(tool("mypy"), "--config-file=", "--strict", "--cache-dir", str(tmp_path), str(program)))
