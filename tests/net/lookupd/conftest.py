"""An nsqlookupd for each test that wants one."""

from collections.abc import Iterator

import pytest

from tests.net.lookupd.rig import Rig, rigged


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An nsqlookupd with default options, on virtual time."""
    with rigged(broadcast_address="lookupd.example") as (made, _):
        yield made
