"""Certificates, made when the tests run, so that none in the tree expires; and a listener whose syncs can be held."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trustme

from tests.fakes.clock import AttendedClock
from tests.fakes.gated import GatedStorage, open_gated
from tests.net.rig import Rig, rigged


@attrs.frozen
class PemFiles:
    """Paths of a certificate and its key."""

    cert: str
    key: str


@pytest.fixture(scope="session")
def _authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate_authority(_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the authority that signed the other two."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    _authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="session")
def server_certificate(_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> PemFiles:
    """What a server for localhost and 127.0.0.1 shows."""
    leaf = _authority.issue_cert("localhost", "127.0.0.1")
    return _written(leaf, tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def client_certificate(_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> PemFiles:
    """What a client called Bob shows."""
    leaf = _authority.issue_cert("bob@example.com", common_name="bob")
    return _written(leaf, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="session")
def foreign_certificate(tmp_path_factory: pytest.TempPathFactory) -> PemFiles:
    """What a client shows that another authority knows."""
    leaf = trustme.CA().issue_cert("eve@example.com", common_name="eve")
    return _written(leaf, tmp_path_factory.mktemp("foreign"))


def _written(leaf: trustme.LeafCert, folder: Path) -> PemFiles:
    files = PemFiles(str(folder / "cert.pem"), str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(files.key)
    return files


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[Rig, GatedStorage]]:
    """A listener at a node that waits for a sync, and the gate before its syncs."""
    clock = AttendedClock()
    node, storage = open_gated(tmp_path / "store", clock)
    node.topic("t").channel("c")
    with rigged(node, clock) as made:
        yield made, storage
        storage.sync_gate.open()
