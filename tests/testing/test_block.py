"""The context managers: each subject is checked and closed, and who forgets `with` is told."""

import pytest

from nsqlite.testing import nsq, nsq_cluster, nsqd
from nsqlite.testing.block import Block


class Subject:
    """What remembers what was done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def check(self) -> None:
        """Note it."""
        self.done.append("check")

    def close(self) -> None:
        """Note it."""
        self.done.append("close")


def test_block_that_ends_well_is_checked_and_closed() -> None:
    """In this order."""
    with Block("nsq", Subject) as subject:
        assert subject.done == []

    assert subject.done == ["check", "close"]


def test_block_that_fails_is_closed() -> None:
    """Its own error is what is read."""
    with pytest.raises(ZeroDivisionError), Block("nsq", Subject) as subject:
        raise ZeroDivisionError

    assert subject.done == ["close"]


@pytest.mark.parametrize("block,name", [(nsq(), "nsq"), (nsqd(), "nsqd"), (nsq_cluster(), "nsq_cluster")])
def test_use_without_with_is_told(block: object, name: str) -> None:
    """Nothing was opened."""
    with pytest.raises(
        AttributeError, match=rf"{name}\(\) has no attribute 'publish': use it with `with {name}\(\) as"
    ):
        block.publish  # type: ignore[attr-defined]  # noqa: B018  # what is to fail
