"""A node with a listener, as a process of its own: the counterpart of the program nsqd.

``python -m benchmarks.net.node --durability commit --path FOLDER`` prints the addresses it listens on, then
answers each line of its standard input with a line, until the input closes or SIGTERM comes:

    depth TOPIC CHANNEL   messages that wait in a channel; -1 if there is none
    settle                bytes of journal that are not settled, once they are few or a minute has passed
"""

import argparse
import resource
import signal
import sys
import time
from types import FrameType

import nsqlite
import nsqlite.net

FEW_BYTES = 1 << 20
SETTLE_SECONDS = 60


def main() -> int:
    """Serve until told to end."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _end)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # as Go's programs do by themselves
    uvloop = False if arguments.no_uvloop else None
    with (
        nsqlite.open(arguments.path, durability=arguments.durability) as node,
        nsqlite.net.listen(
            node, tcp_address=arguments.tcp_address, http_address=arguments.http_address, uvloop=uvloop
        ) as listener,
    ):
        addresses = [listener.tcp_address] + [listener.http_address] * bool(arguments.http_address)
        print(*(f"{host}:{port}" for host, port in addresses), flush=True)
        for line in sys.stdin:
            print(_answer(node, line.split()), flush=True)
    return 0


def _answer(node: nsqlite.Node, words: list[str]) -> int:
    match words:
        case ["depth", topic, channel]:
            return _depth(node, topic, channel)
        case ["settle"]:
            return _settle(node)
    raise ValueError(f"no such command: {words}")


def _depth(node: nsqlite.Node, topic_name: str, channel_name: str) -> int:
    """Look, and make nothing."""
    for topic in node.stats().topics:
        for channel in topic.channels:
            if (topic.topic_name, channel.channel_name) == (topic_name, channel_name):
                return channel.depth
    return -1


def _settle(node: nsqlite.Node) -> int:
    deadline = time.monotonic() + SETTLE_SECONDS
    node.sync()
    while (owed := node.stats().journal_bytes) > FEW_BYTES and time.monotonic() < deadline:
        time.sleep(0.05)
    return owed


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.net.node", description=__doc__)
    parser.add_argument("--durability", choices=("memory", "commit", "fsync"), default="memory")
    parser.add_argument("--path", help="folder of the store; none at memory")
    parser.add_argument("--tcp-address", default="127.0.0.1:0")
    parser.add_argument("--http-address", default="", help="for HTTP; not served without")
    parser.add_argument("--no-uvloop", action="store_true", help="asyncio's own loop, where uvloop is installed, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
