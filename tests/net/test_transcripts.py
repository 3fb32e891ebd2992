"""The transcripts that tests/interop proves on the real nsqd, played to a node in virtual time."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.interop.transcripts import TRANSCRIPTS
from tests.interop.transcripts.certificates import Certificates, make_certificates
from tests.interop.transcripts.on_node import node_peer
from tests.interop.transcripts.player import Player
from tests.interop.transcripts.steps import Differs, Step, Transcript

# Of the protocol, of HTTP, and of what is done over both. 141, about a disk that fails, is in tests/net/http_api,
# 144 needs another process.
CHECKS = {*range(1, 141), 142, 143, 145, 146}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make certificates for one run of the tests."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=str)
def test_node_keeps_to_transcript(transcript: Transcript, certificates: Certificates) -> None:
    """What a transcript expects is what a node does."""
    with node_peer(transcript.server, certificates) as peer:
        Player(peer).play(transcript)


def test_transcripts_cover_every_check() -> None:
    """Each check of the protocol and of HTTP has a transcript, and no two have the same name."""
    assert CHECKS - {transcript.check for transcript in TRANSCRIPTS} == set()
    assert [name for name, count in Counter(map(str, TRANSCRIPTS)).items() if count > 1] == []


def differences(steps: tuple[Step, ...]) -> Iterator[Differs]:
    """Find the deliberate differences among steps."""
    for step in steps:
        if isinstance(step, Differs):
            yield step


def test_differences_give_their_reasons() -> None:
    """A rule is a sentence, and so is the reason for a difference from nsqd."""
    rules = [transcript.rule for transcript in TRANSCRIPTS]
    reasons = [difference.because for transcript in TRANSCRIPTS for difference in differences(transcript.steps)]

    assert [text for text in rules + reasons if not text.endswith(".")] == []
    assert reasons
