"""A node with a listener, in a process of its own: `python -m tests.interop.serve_node PATH|- OPTIONS`.

Prints where it listens as one line of JSON. Every line on standard input asks for the
statistics; when it is closed, the listener and the node are.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import attrs

import nsqlite
import nsqlite.net

PORTS = ("", "http_", "https_")


def tell(**line: Any) -> None:
    """Print one line, at once."""
    print(json.dumps(line, default=repr), flush=True)


def port_of(address: Any) -> int:
    """The port of a listener's address; 0 if it is the path of a unix socket, or there is none."""
    return int(address[1]) if isinstance(address, tuple) else 0


def main(path: str, text: str) -> None:
    """Serve until standard input is closed."""
    options = json.loads(text)
    own = {field.name for field in attrs.fields(nsqlite.Options)} & options.keys()
    of_node = {name: options.pop(name) for name in own}
    with (
        nsqlite.open(None if path == "-" else path, **of_node) as node,
        nsqlite.net.listen(node, **options) as listener,
    ):
        where = {f"{kind}port": port_of(getattr(listener, f"{kind or 'tcp_'}address")) for kind in PORTS}
        tell(host="127.0.0.1", **where)
        for _ in sys.stdin:
            tell(**attrs.asdict(node.stats()))
        node.check()


if __name__ == "__main__":
    main(*sys.argv[1:])
