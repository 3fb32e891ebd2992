"""The transcripts, played to the real nsqd: it is what proves them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.interop.transcripts import TRANSCRIPTS
from tests.interop.transcripts.certificates import make_certificates
from tests.interop.transcripts.on_nsqd import Nsqd, nsqd_peer
from tests.interop.transcripts.player import Player
from tests.interop.transcripts.steps import Server, Transcript


@pytest.fixture(scope="session")
def nsqd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Server], Nsqd]]:
    """Give one nsqd for each kind of server, which the transcripts that need it share."""
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    running: dict[Server, Nsqd] = {}
    with ExitStack() as stack:

        def give(server: Server) -> Nsqd:
            if server not in running:
                folder = tmp_path_factory.mktemp("nsqd")
                running[server] = stack.enter_context(nsqd_peer(server, certificates, folder))
            return running[server]

        yield give


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_nsqd_keeps_to_transcript(transcript: Transcript, nsqd: Callable[[Server], Nsqd]) -> None:
    """What a transcript expects is what the real nsqd does."""
    Player(nsqd(transcript.server)).play(transcript)
