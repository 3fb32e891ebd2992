"""A name is what NSQ takes for one, and nothing else."""

import pytest

from nsqlite.errors import InvalidNameError
from nsqlite.names import check_channel_name, check_topic_name, is_ephemeral, is_valid_name

GOOD = ["a", "A.b_c-9", "x" * 64, "t#ephemeral", "x" * 54 + "#ephemeral", ".", "-"]
BAD = [
    "",
    "x" * 65,
    "x" * 55 + "#ephemeral",
    "#ephemeral",
    "a b",
    "a\n",
    "a#ephemeral\n",
    "a#other",
    "a#ephemeral#ephemeral",
    "ä",
    "\uff11",  # a digit to str.isdigit(), none to NSQ
    "b$d",
    "a/b",
    "a:b",
    "a\x00",
    None,
    b"orders",
    7,
    ["orders"],
]


@pytest.mark.parametrize("name", GOOD)
def test_name_within_the_rules_is_valid(name: str) -> None:
    """1 to 64 of the allowed characters, with the suffix counted in, make a name."""
    assert is_valid_name(name)
    assert check_topic_name(name) == check_channel_name(name) == name


@pytest.mark.parametrize("name", BAD, ids=repr)
def test_name_outside_the_rules_is_refused(name: object) -> None:
    """Anything else raises InvalidNameError, which says what was given and what is wanted."""
    assert not is_valid_name(name)
    for check, kind in ((check_topic_name, "topic"), (check_channel_name, "channel")):
        with pytest.raises(InvalidNameError, match="1 to 64 of the characters") as caught:
            check(name)

        assert (caught.value.kind, caught.value.name) == (kind, name)
        assert repr(name) in str(caught.value)


def test_ephemeral_is_told_by_the_suffix() -> None:
    """Only the suffix at the end makes a name ephemeral."""
    assert is_ephemeral("t#ephemeral")
    assert not is_ephemeral("ephemeral")
