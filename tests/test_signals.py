"""A signal handler that uses the node its signal interrupted: taken or refused, never half and never for ever."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

import nsqlite
from nsqlite.errors import ReentrantError


@pytest.mark.parametrize("durability", ["memory", "commit", "fsync"])
def test_a_handler_that_publishes_breaks_no_call(tmp_path: Path, durability: str) -> None:
    """What it interrupts and what it publishes are kept, or it is told that it is inside a call."""
    assert threading.current_thread() is threading.main_thread()
    path = None if durability == "memory" else tmp_path / "store"
    published: list[bytes] = []
    received: list[bytes] = []
    with nsqlite.open(path, durability=durability) as node:
        topic = node.topic("orders")
        billing = topic.channel("billing")

        def handle(_number: int, _frame: FrameType | None) -> None:
            try:
                published.append(topic.publish(b"from the handler"))
            except ReentrantError:
                pass

        before = signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                published += topic.publish_many([b"a", b"b"])
                messages = billing.receive_many(10, timeout=0)
                received += [message.id for message in messages]
                billing.finish_many(messages)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        while messages := billing.receive_many(100, timeout=0):
            received += [message.id for message in messages]
            billing.finish_many(messages)
        node.check()

    assert sorted(received) == sorted(published)
