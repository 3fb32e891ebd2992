"""What a test may let go wrong with an nsqd: one method for each kind of fault."""

from __future__ import annotations

from collections.abc import Collection

from nsqlite.errors import InvalidOptionError
from nsqlite.names import is_valid_name
from nsqlite.options import MAX_SECONDS
from nsqlite.testing.assertions import Assertions
from nsqlite.testing.faults import (
    ANSWERED,
    CODES,
    COMMANDS,
    DELAY,
    DROP,
    DUPLICATE,
    FAIL,
    HALF,
    MESSAGE,
    WITHOUT_TOPIC,
    Fault,
    Faults,
    Met,
    default_code,
    refuse_unknown,
)
from nsqlite.testing.server import Server

_HTTP_CODE = "INTERNAL_ERROR"
_OF_ONE_COMMAND = {"E_FIN_FAILED": "FIN", "E_REQ_FAILED": "REQ", "E_TOUCH_FAILED": "TOUCH"}


class Mishaps(Assertions):
    """Faults of a node that can be asserted about, for clients that cannot know that they are in a test.

    Where a method takes `command`, it is one of NSQ's protocol ("PUB"), or a path of the HTTP API ("/pub"), and the
    fault is for the next one, of these:

    topic: That is about this topic.
    client: That comes from this client: its client_id, or the number of its connection, of which the first that the
        node ever had is 1.
    times: Not only the next one, but so many; None for all that come until `clear_faults`.
    probability: Each only so likely: 0.3 for three in ten. The same seed lets the same commands of a connection fail.

    Of several faults the one that was asked for first strikes first. They outlive a crash.

    Raises:
        InvalidOptionError: From each method, if a fault could never strike; it says what could.

    Example:
        >>> import urllib.error, urllib.request
        >>> from nsqlite.testing import nsqd
        >>> with nsqd() as server:
        ...     server.fail_next("/pub", status=503, code="EXITING", topic="orders")
        ...     try:
        ...         urllib.request.urlopen(f"http://{server.http_address}/pub?topic=orders", data=b"7")
        ...     except urllib.error.HTTPError as error:
        ...         print(error.code, error.read())
        ...     server.assert_faults_met()
        503 b'{"message":"EXITING"}'
    """

    _faults: Faults
    _server: Server | None

    # -- next commands --------------------------------------------------------------------

    def fail_next(
        self,
        command: str,
        *,
        code: str = "",
        status: int | None = None,
        message: str = "",
        topic: str | None = None,
        client: str | int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> None:
        """Refuse a command instead of carrying it out.

        As from nsqd, the connection closes behind the error, but for E_FIN_FAILED, E_REQ_FAILED and E_TOUCH_FAILED.

        Args:
            command: Which.
            code: NSQ's word for it; that of the command ("E_PUB_FAILED") unless given. In HTTP the whole message,
                "INTERNAL_ERROR" unless given.
            status: Of HTTP, 400 to 599; 500 unless given.
            message: What stands behind the code, but in HTTP.
            topic: See the class, as the rest.
            client: The same.
            times: The same.
            probability: The same.
        """
        self._check_command(command, COMMANDS)
        if command.startswith("/"):
            code, status = _checked_http(code, status, message)
        else:
            code = _checked_code(command, code, status, message)
        self._add(
            Fault(
                kind=FAIL,
                command=command,
                code=code,
                status=500 if status is None else status,
                message=message,
                topic=topic,
                client=client,
                times=times,
                probability=probability,
            )
        )

    def drop_next(
        self,
        command: str,
        *,
        is_carried_out: bool = True,
        topic: str | None = None,
        client: str | int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> None:
        """Reset the connection instead of answering; "MESSAGE": instead of handing a message out.

        Args:
            command: Which.
            is_carried_out: Whether only the answer is lost, so that who repeats the command has it done twice.
            topic: See the class, as the rest.
            client: The same.
            times: The same.
            probability: The same.
        """
        self._check_command(command, (*COMMANDS, MESSAGE))
        self._add(
            Fault(
                kind=DROP,
                command=command,
                is_carried_out=is_carried_out,
                topic=topic,
                client=client,
                times=times,
                probability=probability,
            )
        )

    def half_send_next(
        self,
        command: str,
        *,
        topic: str | None = None,
        client: str | int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> None:
        """Carry a command out, send half of the answer and close; "MESSAGE": half of a message."""
        self._check_command(command, (*ANSWERED, MESSAGE))
        self._add(Fault(kind=HALF, command=command, topic=topic, client=client, times=times, probability=probability))

    def delay_next(
        self,
        command: str,
        seconds: float,
        *,
        topic: str | None = None,
        client: str | int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> None:
        """Carry a command out, and answer it, only after a time, by the node's clock; what is sent behind it waits."""
        self._check_command(command, COMMANDS)
        if not _is_number(seconds) or not 0 <= seconds <= MAX_SECONDS:
            raise InvalidOptionError("seconds", seconds, "give seconds, 0 or more")
        self._add(
            Fault(
                kind=DELAY,
                command=command,
                seconds=seconds,
                topic=topic,
                client=client,
                times=times,
                probability=probability,
            )
        )

    def duplicate_next(
        self,
        topic: str | None = None,
        channel: str | None = None,
        *,
        client: str | int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> None:
        """Take a FIN without an error, and deliver the message again all the same, as an at-least-once queue may."""
        self._add(
            Fault(
                kind=DUPLICATE,
                command="FIN",
                topic=topic,
                channel=channel,
                client=client,
                times=times,
                probability=probability,
            )
        )

    # -- states ---------------------------------------------------------------------------

    def stop_heartbeats(self) -> None:
        """Send no heartbeat any more, nor hang up on who gives no sign of life: it is the client that has to notice."""
        self._faults.has_heartbeats = False

    def start_heartbeats(self) -> None:
        """Send heartbeats again; a client has two intervals from now to give a sign of life."""
        if self._server is not None and not self._faults.has_heartbeats:
            self._server.revive()
        self._faults.has_heartbeats = True

    def time_out(self, topic: str, channel: str) -> None:
        """Let all that is in flight in a channel time out now: it is delivered again, and its answers are too late."""
        self.settle()
        self._subject.time_out(topic, channel)

    def fill_disk(self) -> None:
        """Have every publish refused from now on, as on a full disk."""
        self._subject.fill_disk()

    def free_disk(self) -> None:
        """Take publishes again."""
        self._subject.fill_disk(is_full=False)

    def clear_faults(self) -> None:
        """Let nothing go wrong any more; a full disk has room, and heartbeats are sent."""
        self.start_heartbeats()
        self._faults.clear()
        if self._subject.durability in ("commit", "fsync"):
            self.free_disk()

    # -- what they did --------------------------------------------------------------------

    @property
    def faults_met(self) -> list[Met]:
        """The faults that met somebody, in order."""
        return list(self._faults.met)

    def wait_for_faults(self, timeout: float = 5.0) -> None:
        """Return when all faults, since the last `clear_faults`, have met as many as they were to.

        Raises:
            AssertionError: Some have not, in so many seconds of real time.
        """
        self.history.wait_until(lambda: not self._faults.unmet(), timeout)
        self.assert_faults_met()

    def assert_faults_met(self) -> None:
        """All faults, since the last `clear_faults`, have met as many as they were to.

        Raises:
            AssertionError: Some have not.
        """
        unmet = self._faults.unmet()
        if unmet:
            met = [f"  {each}" for each in self._faults.met]
            told = ["what was met:", *met] if met else ["nobody met any fault"]
            raise AssertionError("\n".join(["faults that have met too few:", *(f"  {each}" for each in unmet), *told]))

    # -- checks ---------------------------------------------------------------------------

    def _check_command(self, command: str, known: Collection[str]) -> None:
        refuse_unknown("command", command, (*known, *self._faults.paths))

    def _add(self, fault: Fault) -> None:
        _check_limits(fault)
        _check_whom(fault)
        self._faults.add(fault)


def _check_limits(fault: Fault) -> None:
    if fault.times is not None and (type(fault.times) is not int or fault.times < 1):
        raise InvalidOptionError("times", fault.times, "give 1 or more, or None for always")
    if not _is_number(fault.probability) or not 0 < fault.probability <= 1:
        raise InvalidOptionError("probability", fault.probability, "give more than 0, and 1 at most")


def _check_whom(fault: Fault) -> None:
    """Whom there is none of, nothing could strike."""
    for option, name in (("topic", fault.topic), ("channel", fault.channel)):
        if name is not None and not is_valid_name(name):
            wanted = (
                f"give the name of a {option}: 1 to 64 letters, digits, and . _ -, perhaps with #ephemeral at the end"
            )
            raise InvalidOptionError(option, name, wanted)
    if fault.topic is not None and fault.command in WITHOUT_TOPIC:
        raise InvalidOptionError("topic", fault.topic, f"leave it out: {fault.command} is about no topic")
    if fault.client is not None and fault.command.startswith("/"):
        raise InvalidOptionError("client", fault.client, "leave it out: in HTTP nobody says who they are")
    if fault.client is not None and type(fault.client) not in (str, int):
        raise InvalidOptionError("client", fault.client, "give a client_id, or the number of a connection")


def _checked_http(code: str, status: int | None, message: str) -> tuple[str, int]:
    """How an HTTP request is refused."""
    if message:
        raise InvalidOptionError("message", message, "leave it out: in HTTP the code is all that is said")
    if not isinstance(code, str) or code in CODES:
        wanted = f'give what nsqd says in HTTP, as "{_HTTP_CODE}", "EXITING" or "INVALID_TOPIC"; a number is the status'
        raise InvalidOptionError("code", code, wanted)
    if status is not None and (type(status) is not int or not 400 <= status <= 599):
        raise InvalidOptionError("status", status, "give an int from 400 to 599")
    return code or _HTTP_CODE, 500 if status is None else status


def _checked_code(command: str, code: str, status: int | None, message: str) -> str:
    """How a command of NSQ's protocol is refused."""
    if status is not None:
        wanted = f'leave it out: {command} is not HTTP; give a code, as "{default_code(command)}", or a path, as "/pub"'
        raise InvalidOptionError("status", status, wanted)
    if not isinstance(message, str):
        raise InvalidOptionError("message", message, "give a str")
    code = code or default_code(command)
    refuse_unknown("code", code, [each for each in CODES if _OF_ONE_COMMAND.get(each, command) == command])
    return code


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
