"""`nsqlite nsqd`: a node with a listener in the foreground, in the place of nsqd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from nsqlite.daemon.data_path import opened_node
from nsqlite.daemon.foreground import Program, StartError, run, take_signals
from nsqlite.daemon.log_lines import LOGGER
from nsqlite.daemon.nsqd_options import FLAGS, PROGRAM, SETTINGS, command_config, listener_options, node_options
from nsqlite.daemon.settings import Chosen
from nsqlite.errors import ImportRefusedError, InvalidOptionError, ListenError, StoreError
from nsqlite.net.nsqd import Nsqd

# What nsqd says of an option that is out of its range, where it says something.
_WORDS: Final = {
    "max_deflate_level": "--max-deflate-level must be [1,9]",
    "node_id": "--node-id must be [0,1024)",
    "auth_http_request_method": "--auth-http-request-method must be post or get",
}
_NO_CERTIFICATE: Final = "cannot require TLS client connections without TLS key and cert"


def main(arguments: Sequence[str]) -> int:
    """Run it with the arguments behind `nsqlite nsqd`; return its exit code."""
    return run(Program(PROGRAM, SETTINGS, FLAGS, _serve), arguments)


async def _serve(chosen: Chosen) -> None:
    with ExitStack() as opened:
        with _in_nsqds_words(chosen):
            of_node, of_listener = node_options(chosen), listener_options(chosen)
            node = opened.enter_context(opened_node(chosen["data-path"], of_node))
            asked = take_signals()
            LOGGER.info("ID: %d", node.engine.broker.node_id)
            nsqd = Nsqd(node.engine, of_listener, command_config(chosen))
            await nsqd.start()
        try:
            await asked.wait()
        finally:
            await nsqd.close()
        LOGGER.info("NSQ: closing topics")
    LOGGER.info("NSQ: bye")


@contextmanager
def _in_nsqds_words(chosen: Chosen) -> Iterator[None]:
    """Say of what can go wrong what nsqd does, with our sentence behind it."""
    try:
        yield
    except InvalidOptionError as error:
        if not chosen["tls-cert"] and error.option in ("tls_required", "tls_client_auth_policy"):
            told = _NO_CERTIFICATE
        elif error.option == "e2e_processing_latency_percentiles":
            told = f"invalid E2E processing latency percentile: {error}"
        else:
            told = _WORDS.get(error.option, chosen.refusal(error))
        raise StartError(f"failed to instantiate nsqd - {told}") from error
    except ListenError as error:
        raise StartError(f"failed to instantiate nsqd - listen ({error.address}) failed - {error}") from error
    except ImportRefusedError as error:
        did = "instantiate nsqd" if str(error).startswith("failed to lock") else "load metadata"
        raise StartError(f"failed to {did} - {error}") from error
    except (StoreError, OSError) as error:
        raise StartError(f"failed to instantiate nsqd - {error}") from error
