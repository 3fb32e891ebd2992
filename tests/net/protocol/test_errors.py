"""The codes of refusals are NSQ's, each once."""

from nsqlite.net.protocol import errors
from nsqlite.net.protocol.errors import ProtocolError

NSQ_CODES = {
    "E_BAD_PROTOCOL", "E_INVALID", "E_BAD_BODY", "E_BAD_TOPIC", "E_BAD_CHANNEL", "E_BAD_MESSAGE", "E_IDENTIFY_FAILED",
    "E_SUB_FAILED", "E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED", "E_AUTH_FIRST", "E_AUTH_DISABLED",
    "E_AUTH_FAILED", "E_UNAUTHORIZED", "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED",
}  # fmt: skip
CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ProtocolError)]


def test_codes_are_nsqs() -> None:
    """All but E_AUTH_ERROR, which nsqd sends when a socket has failed and nobody can read it."""
    codes = [each.code for each in CLASSES if each is not ProtocolError]

    assert set(codes) == NSQ_CODES
    assert len(codes) == len(NSQ_CODES)


def test_only_answers_about_messages_are_survived() -> None:
    """FIN, REQ and TOUCH of a message that is not held leave the connection open; nothing else does."""
    survived = {each.code for each in CLASSES if each is not ProtocolError and not each.is_fatal}

    assert survived == {"E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"}


def test_payload_is_code_and_text() -> None:
    """One space between, none when there is no text; text may be any bytes."""
    assert errors.BadProtocolError().payload == b"E_BAD_PROTOCOL"
    assert errors.InvalidError(b"invalid command \xff").payload == b"E_INVALID invalid command \xff"
    assert str(errors.InvalidError(b"\xff")) == "E_INVALID \N{REPLACEMENT CHARACTER}"
