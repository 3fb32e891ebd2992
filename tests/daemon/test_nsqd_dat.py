"""nsqd.dat is read as nsqd reads it."""

import pytest

from nsqlite.daemon.nsqd_dat import NsqdChannel, NsqdTopic, parse_nsqd_dat


def test_topics_come_with_channels_and_pauses() -> None:
    """What nsqd 1.3.0 writes is found; no channels are null."""
    document = (
        b'{"topics":[{"name":"t","paused":true,"channels":[{"name":"c","paused":false},{"name":"d","paused":true}]},'
        b'{"name":"u","paused":false,"channels":null}],"version":"1.3.0"}'
    )

    assert parse_nsqd_dat(document) == (
        NsqdTopic("t", True, (NsqdChannel("c", False), NsqdChannel("d", True))),
        NsqdTopic("u", False, ()),
    )


@pytest.mark.parametrize(
    "document",
    [b"null", b"{}", b'{"topics":null}', b'{"topics":[],"version":"0.3.8"}', b'{"colour":[1],"topics":[]}'],
)
def test_nothing_listed_is_no_topic(document: bytes) -> None:
    """What is absent, null or unknown makes no topic."""
    assert parse_nsqd_dat(document) == ()


def test_keys_match_in_any_case() -> None:
    """Go's JSON finds Topics and NAME, and so does this."""
    assert parse_nsqd_dat(b'{"Topics":[{"NAME":"t","extra":{}}]}') == (NsqdTopic("t"),)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not json",
        b"[]",
        b'{"topics":{}}',
        b'{"topics":[{"name":1}]}',
        b'{"topics":[{"name":"t","paused":"no"}]}',
        b'{"topics":[{"name":"t","channels":"c"}]}',
        b'{"topics":[]} trailing',
        b'{"topics":["t"]}',
    ],
)
def test_what_nsqd_cannot_parse_is_an_error(document: bytes) -> None:
    """A document that ends nsqd's start is refused."""
    with pytest.raises(ValueError, match=r"."):
        parse_nsqd_dat(document)
