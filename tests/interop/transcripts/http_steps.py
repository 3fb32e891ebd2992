"""The steps of a transcript that speak HTTP. They are done by connection "H" unless they name another.

Such a connection is like any other: `Send`, `HalfClose`, `Close`, `StartTls`, `ExpectEof` and
`Silence` work on it, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

# A body: all of it, a pattern that all of it matches, a JSON object in which these keys have these values, or any.
Body = bytes | re.Pattern[bytes] | Mapping[str, Any] | None
NSQ_HEADER = {"x-nsq-content-type": "nsq; version=1.0"}
JSON = NSQ_HEADER | {"content-type": "application/json; charset=utf-8"}
TEXT = NSQ_HEADER | {"content-type": "text/plain; charset=utf-8"}
NO_TYPE = NSQ_HEADER | {"content-type": None}
NOT_OURS = {"x-nsq-content-type": None}


@attrs.frozen
class ConnectHttp:
    """Connect to where HTTP is served, or HTTPS; the first step that names a connection does that by itself."""

    by: str = "H"
    https: bool = False


@attrs.frozen
class Request:
    """Send a request, with the header Host; its length is told, or its chunks.

    Attributes:
        method: As it is sent.
        target: As it is sent: path and query.
        body: Its body.
        chunks: Its body, if it is sent in chunks.
        headers: Further headers; one without a value is not sent even if it is usual.
        by: Who sends it.
    """

    method: str
    target: str
    body: bytes = b""
    chunks: tuple[bytes, ...] = ()
    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    by: str = "H"


@attrs.frozen
class Answer:
    """The next answer is this one.

    Attributes:
        status: Its status.
        body: Its body.
        headers: Headers, named in lower case, that it has; None for one that it has not.
        by: Who receives it.
    """

    status: int
    body: Body = None
    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    by: str = "H"


@attrs.frozen
class Look:
    """GET is answered 200 with this body, or soon is; what is looked at lags behind what is not answered."""

    target: str
    body: Body
    by: str = "H"


HttpStep = ConnectHttp | Request | Answer | Look
