"""Who is shown: this program, and its clients, of which some are in the process. Pure but for the host's name."""

from __future__ import annotations

import socket
from typing import Final

from nsqlite._version import __version__
from nsqlite.net.protocol.negotiation import VERSION
from nsqlite.stats import ClientStats

IN_PROCESS_ADDRESS: Final = "127.0.0.1:0"  # nsqadmin's page wants a port of every client


def version_line(program: str) -> str:
    """As nsqd shows its version, in its log and on its page."""
    return f"{program} v{VERSION} (built w/nsqlite {__version__})"


def who(client: ClientStats) -> tuple[str, str, str]:
    """Host name, address and user agent; one in the process is shown as a client of this host at port 0."""
    if client.remote_address:
        return client.hostname, client.remote_address, client.user_agent
    return socket.gethostname(), IN_PROCESS_ADDRESS, f"nsqlite/{__version__}"
