"""The endpoints of the page for people: the page itself, and the figures that it asks for every two seconds."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

from nsqlite.engine import Engine
from nsqlite.errors import ClosedError, ForkedError, NodeFailedError
from nsqlite.net.http import answers
from nsqlite.net.http.answers import NSQ, HttpError
from nsqlite.net.http.router import Call, Routes
from nsqlite.net.options import HttpPage
from nsqlite.net.page.document import Documents, View
from nsqlite.net.page.history import History

PATH: Final = "/"
DATA_PATH: Final = "/page/data"
SCRIPTS: Final = ("elements.js", "charts.js", "overview.js", "topic.js", "page.js")


class Page:
    """The endpoints of one server."""

    def __init__(self, engine: Engine, history: History, mode: HttpPage) -> None:
        """Prepare them.

        Args:
            engine: Whose figures are shown.
            history: Its last minutes; it belongs to who made it.
            mode: "read-write" shows buttons. What they ask for is nsqd's API, which is there either way.
        """
        self._documents = Documents(engine, history, mode)

    def routes(self) -> Routes:
        """See Router. "/" must need no token: it has no figures, and asks for the token itself."""
        return {PATH: {"GET": self.get}, DATA_PATH: {"GET": self.get_data}}

    async def get(self, call: Call) -> web.Response:
        """The page."""
        body, headers = page()
        return web.Response(body=body, headers=headers)

    async def get_data(self, call: Call) -> web.Response:
        """What the page shows; see View for the parameters."""
        view = View.of(call.params())
        try:
            body = await self._documents.document(view)
        except (ClosedError, NodeFailedError, ForkedError) as error:
            raise HttpError(500, "INTERNAL_ERROR") from error
        answer = answers.json(body)
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


@cache
def page() -> tuple[bytes, dict[str, str]]:
    """The page in one piece, and its headers: it may run its own script and style, and reach its own server only."""
    folder = files("nsqlite.net.page")
    style = _read(folder.joinpath("page.css"))
    script = "\n".join(_read(folder.joinpath(name)) for name in SCRIPTS)
    text = _read(folder.joinpath("page.html")).replace("{{style}}", style).replace("{{script}}", script)
    policy = [
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    headers = NSQ | {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(policy),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return text.encode(), headers


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a policy names an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
