"""Where mails go. This office keeps them in memory, for development and tests."""


class PostError(Exception):
    """The office has not taken a mail; it may take it later."""


class PostOffice:
    """An office that keeps what it takes.

    Attributes:
        is_open: Whether it takes mails now.
        sent: Address and text of each mail it took.
    """

    def __init__(self) -> None:
        self.is_open = True
        self.sent: list[tuple[str, str]] = []

    async def post(self, address: str, text: str) -> None:
        """Take a mail."""
        if not self.is_open:
            raise PostError("closed")
        self.sent.append((address, text))
