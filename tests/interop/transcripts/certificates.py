"""Certificates made for one run of the tests, as files that a server and its clients read."""

from __future__ import annotations

from pathlib import Path

import attrs
import trustme

CLIENT_NAME = "client.example"


@attrs.frozen
class Certificates:
    """Paths of PEM files.

    Attributes:
        authority: The certificate of who signed the others.
        server: The server's certificate.
        server_key: Its private key.
        client: A client's certificate, with its key; its common name is CLIENT_NAME.
        stranger: A client's certificate that another authority signed, with its key.
    """

    authority: str
    server: str
    server_key: str
    client: str
    stranger: str


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and what it signs, in a folder."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    client = authority.issue_cert(CLIENT_NAME, common_name=CLIENT_NAME)
    stranger = trustme.CA().issue_cert(CLIENT_NAME, common_name=CLIENT_NAME)
    made = Certificates(
        *(str(folder / f"{name}.pem") for name in ("authority", "server", "server_key", "client", "stranger"))
    )
    authority.cert_pem.write_to_path(made.authority)
    server.cert_chain_pems[0].write_to_path(made.server)
    server.private_key_pem.write_to_path(made.server_key)
    client.private_key_and_cert_chain_pem.write_to_path(made.client)
    stranger.private_key_and_cert_chain_pem.write_to_path(made.stranger)
    return made
