"""ansq's writer and reader, under the command line of this folder's programs."""

from __future__ import annotations

import asyncio
import os
from typing import Any, NoReturn

from ansq import ConnectionFeatures, ConnectionOptions, create_reader, create_writer
from ansq.tcp.connection import NSQConnection

from tests.interop.clients.lines import Options, action_for, run, tell, tell_message, told_to_stop


def connection_options(options: Options) -> ConnectionOptions:
    """ansq's names for what both roles can be told."""
    features = ConnectionFeatures(
        heartbeat_interval=options.get("heartbeat_ms", 30_000),
        msg_timeout=options.get("msg_timeout_ms", 60_000),
    )
    return ConnectionOptions(features=features, auto_reconnect=False)


def fail(error: str) -> NoReturn:
    """Tell an error and end, at once: ansq waits for ever to close what the server has closed."""
    tell(error=error)
    os._exit(0)


async def authorized(host: str, port: int, options: Options) -> NSQConnection:
    """A connection that says AUTH and no IDENTIFY.

    After an IDENTIFY that was answered with auth_required, ansq 0.3.0 refuses to send
    anything but AUTH for ever, since it never notes that it was authorized.
    """
    connection = NSQConnection(host, port, connection_options=connection_options(options))
    await connection.connect()
    answer = await connection.auth(options["secret"])
    if not answer:
        fail(answer.text)
    return connection


async def produce(host: str, port: int, options: Options) -> None:
    """Publish step by step, each after the answer to the one before."""
    if "secret" in options:
        writer: Any = await authorized(host, port, options)
    else:
        writer = await create_writer([f"{host}:{port}"], connection_options(options))
    for step in options["steps"]:
        bodies = [bytes.fromhex(body) for body in step["bodies"]]
        if step["do"] == "pub":
            answer = await writer.pub(options["topic"], bodies[0])
        elif step["do"] == "mpub":
            answer = await writer.mpub(options["topic"], *bodies)
        else:
            answer = await writer.dpub(options["topic"], bodies[0], step["ms"])
        if not answer:
            fail(answer.text)
        tell(answer=answer.text)
    await writer.close()


async def consume(host: str, port: int, options: Options) -> None:
    """Tell messages and act on them until told to stop."""
    if "secret" in options:
        reader: Any = await authorized(host, port, options)
        await reader.subscribe(options["topic"], options["channel"])
    else:
        addresses = [f"{host}:{port}"]
        reader = await create_reader(
            options["topic"], options["channel"], addresses, connection_options=connection_options(options)
        )
    handling = asyncio.create_task(handle_all(reader, options))
    await told_to_stop()
    handling.cancel()
    await reader.close()


async def handle_all(reader: Any, options: Options) -> None:
    """What a consumer does with its messages, one after another: ansq holds one at a time."""
    while True:
        message = await reader.wait_for_message()
        if message is None:
            return
        tell_message(message)
        action = action_for(message, options)
        if action["do"] == "requeue":
            await message.req(action["ms"])
        elif action["do"] != "ignore":
            for _ in range(action.get("times", 0)):
                await asyncio.sleep(action["ms"] / 1000)
                await message.touch()
            await message.fin()


if __name__ == "__main__":
    run(produce, consume)
