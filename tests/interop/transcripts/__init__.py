"""Conversations with an NSQ server, as data: what a node must do, proven on the real nsqd.

`steps.py` and `http_steps.py` are the language they are written in, and the files named after their subject are
written in it. `player.py` plays them, to the peers in `on_node.py` and `on_nsqd.py`.
"""

from tests.interop.transcripts import (
    auth,
    channels,
    connection_and_syntax,
    consuming,
    http_administration,
    http_configuration,
    http_general,
    http_publishing,
    http_statistics,
    identify,
    publishing,
    timeouts,
    tls,
    upgrades,
)

TRANSCRIPTS = (
    *connection_and_syntax.TRANSCRIPTS,
    *publishing.TRANSCRIPTS,
    *consuming.TRANSCRIPTS,
    *channels.TRANSCRIPTS,
    *timeouts.TRANSCRIPTS,
    *identify.TRANSCRIPTS,
    *upgrades.TRANSCRIPTS,
    *tls.TRANSCRIPTS,
    *auth.TRANSCRIPTS,
    *http_general.TRANSCRIPTS,
    *http_publishing.TRANSCRIPTS,
    *http_administration.TRANSCRIPTS,
    *http_statistics.TRANSCRIPTS,
    *http_configuration.TRANSCRIPTS,
)
