"""pynsq's Writer and Reader, under the command line of this folder's programs."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import Any

import nsq
from nsq import conn

from tests.interop.clients.lines import Options, action_for, run, tell, tell_message, told_to_stop


def patient(compressed: Any) -> Any:
    """A socket of pynsq's that says in Tornado 6's words that what came is not yet enough to decompress.

    pynsq raises OSError(EWOULDBLOCK), which Tornado 6 takes for a broken connection. That there is
    nothing to give yet happens whenever a compressed frame comes in two pieces.
    """

    class Patient(compressed):
        def _recv(self, *arguments: Any) -> Any:
            try:
                return super()._recv(*arguments)
            except OSError as error:
                raise BlockingIOError if error.args == (errno.EWOULDBLOCK,) else error from error

    return Patient


conn.DeflateSocket, conn.SnappySocket = patient(conn.DeflateSocket), patient(conn.SnappySocket)


class TellingWriter(nsq.Writer):
    """A Writer that says when it is connected, or that it will not be."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        super().__init__(*arguments, **options)

    def _on_connection_ready(self, conn: Any, **kwargs: Any) -> None:
        super()._on_connection_ready(conn, **kwargs)
        self.connected.set_result(None)

    def _on_connection_error(self, conn: Any, error: Exception, **kwargs: Any) -> None:
        super()._on_connection_error(conn, error, **kwargs)
        if not self.connected.done():
            self.connected.set_exception(error)


class TellingReader(nsq.Reader):
    """A Reader that tells its errors."""

    def _on_connection_error(self, conn: Any, error: Exception, **kwargs: Any) -> None:
        tell(error=str(error))
        super()._on_connection_error(conn, error, **kwargs)


def connection(options: Options) -> Options:
    """pynsq's names for what both roles can be told."""
    return {
        "heartbeat_interval": options.get("heartbeat_ms", 30_000) // 1000,
        "tls_v1": bool(options.get("ca")),
        "tls_options": {"ca_certs": options.get("ca"), "cert_reqs": ssl.CERT_REQUIRED},
        "snappy": options.get("snappy", False),
        "deflate": options.get("deflate", False),
        "auth_secret": options.get("secret"),
    }


async def produce(host: str, port: int, options: Options) -> None:
    """Publish step by step, each after the answer to the one before."""
    writer = TellingWriter([f"{host}:{port}"], **connection(options))
    try:
        await writer.connected
    except nsq.Error as error:
        tell(error=str(error))
        return
    for step in options["steps"]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(_: Any, data: Any, answer: asyncio.Future[Any] = answer) -> None:
            if not answer.done():  # an error is told once, and once more when the connection closes
                answer.set_result(data)

        bodies = [bytes.fromhex(body) for body in step["bodies"]]
        if step["do"] == "pub":
            writer.pub(options["topic"], bodies[0], callback=answered)
        elif step["do"] == "mpub":
            writer.mpub(options["topic"], bodies, callback=answered)
        else:
            writer.dpub(options["topic"], step["ms"], bodies[0], callback=answered)
        data = await answer
        if isinstance(data, Exception):
            tell(error=str(data))
            return
        tell(answer=data.decode())


async def consume(host: str, port: int, options: Options) -> None:
    """Tell messages and act on them until told to stop."""

    async def handle(message: Any) -> bool:
        tell_message(message)
        action = action_for(message, options)
        if action["do"] in {"requeue", "backoff"}:
            message.requeue(backoff=action["do"] == "backoff", time_ms=action["ms"])
        elif action["do"] == "ignore":
            await asyncio.Event().wait()
        elif action["do"] == "touch":
            for _ in range(action["times"]):
                await asyncio.sleep(action["ms"] / 1000)
                message.touch()
        return True

    rest_seconds = options.get("backoff_ms", 0) / 1000
    timeout_ms = options.get("msg_timeout_ms")
    where: Options = {"nsqd_tcp_addresses": [f"{host}:{port}"]}
    if lookupds := options.get("lookupds"):
        where = {"lookupd_http_addresses": lookupds, "lookupd_poll_interval": 1, "lookupd_poll_jitter": 0.0}
    reader = TellingReader(
        options["topic"],
        options["channel"],
        handle,
        **where,
        max_in_flight=options.get("in_flight", 1),
        max_backoff_duration=rest_seconds / 0.028 or 128,  # of which one failure rests 0.25 / 10 + 0.75 / 250
        msg_timeout=timeout_ms and timeout_ms / 1000,
        **connection(options),
    )
    await told_to_stop()
    reader.close()


if __name__ == "__main__":
    run(produce, consume)
