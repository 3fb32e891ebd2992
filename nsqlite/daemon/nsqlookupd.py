"""`nsqlite nsqlookupd`: an nsqlookupd in the foreground, in the place of NSQ's own."""

from __future__ import annotations

from collections.abc import Sequence

from nsqlite.daemon.foreground import Program, StartError, run, take_signals
from nsqlite.daemon.nsqlookupd_options import FLAGS, PROGRAM, SETTINGS, lookupd_options
from nsqlite.daemon.settings import Chosen
from nsqlite.errors import InvalidOptionError, ListenError
from nsqlite.net.lookupd.lookupd import serve


def main(arguments: Sequence[str]) -> int:
    """Run it with the arguments behind `nsqlite nsqlookupd`; return its exit code."""
    return run(Program(PROGRAM, SETTINGS, FLAGS, _serve), arguments)


async def _serve(chosen: Chosen) -> None:
    try:
        options = lookupd_options(chosen)
        asked = take_signals()
        async with serve(options=options):
            await asked.wait()
    except InvalidOptionError as error:
        raise StartError(f"failed to instantiate nsqlookupd - {chosen.refusal(error)}") from error
    except ListenError as error:
        raise StartError(f"failed to instantiate nsqlookupd - listen ({error.address}) failed - {error}") from error
