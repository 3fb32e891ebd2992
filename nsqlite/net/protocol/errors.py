"""What a client on the wire is told when a command is refused: one class for each of NSQ's codes.

A tree of its own beside nsqlite.errors: those are caught by who calls the library, these
are only ever read by a peer.

ProtocolError
├── BadProtocolError       E_BAD_PROTOCOL     wrong magic
├── InvalidError           E_INVALID          syntax, order, range
├── BadBodyError           E_BAD_BODY         the body of IDENTIFY, AUTH or MPUB as a whole
├── BadTopicError          E_BAD_TOPIC
├── BadChannelError        E_BAD_CHANNEL
├── BadMessageError        E_BAD_MESSAGE      a message's size, in PUB, DPUB and MPUB
├── IdentifyFailedError    E_IDENTIFY_FAILED
├── SubFailedError         E_SUB_FAILED
├── PubFailedError         E_PUB_FAILED       the store refused
├── MpubFailedError        E_MPUB_FAILED
├── DpubFailedError        E_DPUB_FAILED
├── AuthFirstError         E_AUTH_FIRST
├── AuthDisabledError      E_AUTH_DISABLED
├── AuthFailedError        E_AUTH_FAILED
├── UnauthorizedError      E_UNAUTHORIZED
├── FinFailedError         E_FIN_FAILED       the connection lives
├── ReqFailedError         E_REQ_FAILED       the connection lives
└── TouchFailedError       E_TOUCH_FAILED     the connection lives
"""

from __future__ import annotations

from typing import ClassVar

from nsqlite.errors import NsqliteError


class ProtocolError(NsqliteError):
    """A command the protocol refuses, worded as an NSQ client will read it.

    Attributes:
        code: NSQ's word for it; no two classes share one.
        is_fatal: Whether the connection closes once the error frame is out.
        payload: The whole of the error frame's data.
    """

    code: ClassVar[str]
    is_fatal: ClassVar[bool] = True

    def __init__(self, text: str | bytes = b"") -> None:
        raw = text.encode() if isinstance(text, str) else text
        self.payload = self.code.encode() + (b" " + raw if raw else b"")
        super().__init__(self.payload.decode(errors="replace"))


class BadProtocolError(ProtocolError):
    """The first four bytes are no magic."""

    code = "E_BAD_PROTOCOL"


class InvalidError(ProtocolError):
    """Syntax, order or range of a command."""

    code = "E_INVALID"


class BadBodyError(ProtocolError):
    """The body of IDENTIFY, AUTH or MPUB as a whole."""

    code = "E_BAD_BODY"


class BadTopicError(ProtocolError):
    """A topic's name."""

    code = "E_BAD_TOPIC"


class BadChannelError(ProtocolError):
    """A channel's name."""

    code = "E_BAD_CHANNEL"


class BadMessageError(ProtocolError):
    """A message's size."""

    code = "E_BAD_MESSAGE"


class IdentifyFailedError(ProtocolError):
    """What was negotiated cannot be."""

    code = "E_IDENTIFY_FAILED"


class SubFailedError(ProtocolError):
    """The channel takes no more consumers, or is going."""

    code = "E_SUB_FAILED"


class PubFailedError(ProtocolError):
    """The store refused a PUB."""

    code = "E_PUB_FAILED"


class MpubFailedError(ProtocolError):
    """The store refused an MPUB."""

    code = "E_MPUB_FAILED"


class DpubFailedError(ProtocolError):
    """The store refused a DPUB."""

    code = "E_DPUB_FAILED"


class AuthFirstError(ProtocolError):
    """AUTH must come before this command."""

    code = "E_AUTH_FIRST"


class AuthDisabledError(ProtocolError):
    """AUTH where there is no auth server."""

    code = "E_AUTH_DISABLED"


class AuthFailedError(ProtocolError):
    """The auth server did not answer, or not with an authorization."""

    code = "E_AUTH_FAILED"


class UnauthorizedError(ProtocolError):
    """The auth server allows something else."""

    code = "E_UNAUTHORIZED"


class FinFailedError(ProtocolError):
    """FIN named a message this client does not hold."""

    code, is_fatal = "E_FIN_FAILED", False


class ReqFailedError(ProtocolError):
    """REQ named a message this client does not hold."""

    code, is_fatal = "E_REQ_FAILED", False


class TouchFailedError(ProtocolError):
    """TOUCH named a message this client does not hold."""

    code, is_fatal = "E_TOUCH_FAILED", False
