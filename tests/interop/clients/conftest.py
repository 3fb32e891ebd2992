"""The servers that the programs of this folder talk to, one of each kind for a whole run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import pytest

from tests.interop.clients.steps import Guarded
from tests.interop.servers import SERVERS, Certificate, Server, auth_server, make_certificate

_numbers: Final = itertools.count()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that the clients are told to trust."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session", params=list(SERVERS))
def server(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Server]:
    """A server that offers TLS and compression and asks for nothing."""
    with SERVERS[request.param](**certificate.options) as running:
        yield running


@pytest.fixture(scope="session", params=list(SERVERS))
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """A server with an auth server behind it: "s3 &=cret" may do all, "reader" may only subscribe."""
    everything = {"topic": ".*", "channels": [".*"], "permissions": ["subscribe", "publish"]}
    answers = {
        "s3 &=cret": {"ttl": 60, "identity": "anna", "authorizations": [everything]},
        "reader": {"ttl": 60, "authorizations": [everything | {"permissions": ["subscribe"]}]},
    }
    with auth_server(answers) as auth, SERVERS[request.param](auth_http_addresses=(auth.address,)) as running:
        yield Guarded(running, auth)


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"topic-{next(_numbers)}"
