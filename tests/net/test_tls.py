"""TLS as a layer of bytes, against OpenSSL's own client in memory."""

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsqlite.errors import InvalidOptionError
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol.compression import LayerError
from nsqlite.net.tls import TlsLayer, client_context, server_context, standard_name
from tests.net.conftest import PemFiles

Options = Callable[..., ListenerOptions]


class Client:
    """OpenSSL's client between two buffers."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._arrived, self._leaving, server_hostname="localhost")

    def shake(self, data: bytes = b"") -> bytes:
        """Go on with the handshake; what is to be sent for it."""
        self._arrived.write(data)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._leaving.read()

    def send(self, data: bytes) -> bytes:
        """What is to be sent for plain bytes."""
        self.tls.write(data)
        return self._leaving.read()

    def receive(self, data: bytes) -> bytes:
        """What the server said."""
        self._arrived.write(data)
        try:
            return self.tls.read(1 << 20)
        except ssl.SSLWantReadError:
            return b""

    def end(self) -> bytes:
        """Say good-bye."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self._leaving.read()


@pytest.fixture
def options(server_certificate: PemFiles) -> Options:
    """Make options of a listener that has a certificate."""

    def make(**given_: object) -> ListenerOptions:
        files = {"tls_cert": server_certificate.cert, "tls_key": server_certificate.key}
        return ListenerOptions(**(files | given_))  # type: ignore[arg-type]

    return make


@pytest.fixture
def client(certificate_authority: str) -> Callable[..., Client]:
    """Make clients that trust the server's authority."""

    def make(certificate: PemFiles | None = None, maximum: ssl.TLSVersion | None = None) -> Client:
        context = ssl.create_default_context(cafile=certificate_authority)
        if certificate is not None:
            context.load_cert_chain(certificate.cert, certificate.key)
        if maximum is not None:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = maximum
        return Client(context)

    return make


def shake(layer: TlsLayer, client: Client, size_bytes: int = 1 << 20) -> None:
    """Run the handshake to its end, in pieces of that size."""
    is_done, to_server = False, client.shake()
    for _ in range(10):
        for at in range(0, len(to_server), size_bytes):
            layer.feed(to_server[at : at + size_bytes])
            is_done = layer.handshake()
        to_server = client.shake(layer.outgoing())
        if is_done and not to_server:
            return
    raise AssertionError("the handshake does not end")


def test_layer_carries_bytes_both_ways(options: Options, client: Callable[..., Client]) -> None:
    """After the handshake either side reads what the other one wrote, however much it is."""
    layer, peer = TlsLayer(server_context(options())), client()
    shake(layer, peer)
    long = bytes(range(256)) * 400

    layer.feed(peer.send(b"from the client"))
    answer = layer.encode(b"OK") + layer.encode(b"") + layer.encode(long)

    assert layer.read(100) == b"from the client"
    assert layer.read(100) == b""
    got = peer.receive(answer)
    while more := peer.receive(b""):
        got += more
    assert got == b"OK" + long


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(size_bytes=st.integers(1, 600), limit=st.integers(1, 20_000), body=st.binary(min_size=1, max_size=40_000))
def test_layer_works_in_any_pieces(
    options: Options, client: Callable[..., Client], size_bytes: int, limit: int, body: bytes
) -> None:
    """Cuts of the stream change nothing, in the handshake or behind it, and a read keeps to its limit."""
    layer, peer = TlsLayer(server_context(options())), client()
    shake(layer, peer, size_bytes)
    wire, got = peer.send(body), b""

    for at in range(0, len(wire), size_bytes):
        layer.feed(wire[at : at + size_bytes])
        while plain := layer.read(limit):
            assert len(plain) <= limit
            got += plain

    assert got == body
    assert layer.buffered_bytes == 0


def test_layer_counts_what_waits(options: Options, client: Callable[..., Client]) -> None:
    """What was fed counts until it is read, in cipher or in plain."""
    layer, peer = TlsLayer(server_context(options())), client()
    shake(layer, peer)
    layer.feed(peer.send(b"x" * 1000))

    assert layer.buffered_bytes > 1000
    assert layer.read(400) == b"x" * 400
    assert layer.buffered_bytes == 600


def test_end_of_tls_is_told_from_garbage(options: Options, client: Callable[..., Client]) -> None:
    """A peer that says good-bye is read to the end; one that breaks in is an error."""
    layer, peer = TlsLayer(server_context(options())), client()
    shake(layer, peer)
    layer.feed(peer.send(b"last words") + peer.end())

    assert layer.read(100) == b"last words"
    with pytest.raises(LayerError) as caught:
        layer.read(100)
    assert caught.value.is_end


def test_tampering_is_an_error(options: Options, client: Callable[..., Client]) -> None:
    """A bit that was changed on the way breaks the connection, and the peer is told so."""
    layer, peer = TlsLayer(server_context(options())), client()
    shake(layer, peer)
    wire = bytearray(peer.send(b"PUB t\n"))
    wire[-1] ^= 1
    layer.feed(bytes(wire))

    with pytest.raises(LayerError) as caught:
        layer.read(100)

    assert not caught.value.is_end
    assert layer.outgoing()


@pytest.mark.parametrize("garbage", [b"IDENTIFY\n\x00\x00\x00\x02{}", b"\x00" * 11, b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_instead_of_a_handshake_is_an_error(options: Options, garbage: bytes) -> None:
    """What is no TLS is refused as soon as it shows, with the cause."""
    layer = TlsLayer(server_context(options()))
    layer.feed(garbage)

    with pytest.raises(LayerError) as caught:
        layer.handshake()

    assert str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(garbage=st.binary(max_size=300))
def test_any_bytes_are_refused_or_wait(options: Options, garbage: bytes) -> None:
    """Whatever comes, the handshake wants more or fails; it is never done and never hangs."""
    layer = TlsLayer(server_context(options()))
    layer.feed(garbage)
    try:
        assert layer.handshake() is False
    except LayerError:
        pass


def test_description_tells_version_cipher_and_nobody(options: Options, client: Callable[..., Client]) -> None:
    """Without a certificate the client has no name."""
    layer, peer = TlsLayer(server_context(options())), client()
    shake(layer, peer)

    told = layer.describe()

    assert told.version == "TLS1.3"
    assert told.cipher_suite.startswith("TLS_AES_")
    assert (told.common_name, told.is_mutual) == ("", False)


@pytest.mark.parametrize("policy", ["require", "require-verify"])
def test_client_certificate_is_checked_and_named(
    options: Options,
    client: Callable[..., Client],
    certificate_authority: str,
    client_certificate: PemFiles,
    policy: str,
) -> None:
    """A certificate of the right authority is let in, and its common name is known."""
    context = server_context(options(tls_client_auth_policy=policy, tls_root_ca_file=certificate_authority))
    layer, peer = TlsLayer(context), client(client_certificate)
    shake(layer, peer)

    assert (layer.describe().common_name, layer.describe().is_mutual) == ("bob", True)


@pytest.mark.parametrize("policy", ["require", "require-verify"])
@pytest.mark.parametrize("is_foreign", [False, True])
def test_client_without_a_known_certificate_is_refused(
    options: Options,
    client: Callable[..., Client],
    certificate_authority: str,
    foreign_certificate: PemFiles,
    policy: str,
    is_foreign: bool,
) -> None:
    """No certificate, or one of another authority, ends the handshake under either policy."""
    context = server_context(options(tls_client_auth_policy=policy, tls_root_ca_file=certificate_authority))
    layer, peer = TlsLayer(context), client(foreign_certificate if is_foreign else None)

    with pytest.raises(LayerError) as caught:
        shake(layer, peer)

    assert "certificate" in str(caught.value)


def test_require_takes_a_certificate_by_itself(
    options: Options, client: Callable[..., Client], foreign_certificate: PemFiles
) -> None:
    """Under "require" a certificate that is itself on the list is enough; its authority need not be."""
    listed = {"tls_root_ca_file": foreign_certificate.cert}
    layer = TlsLayer(server_context(options(tls_client_auth_policy="require", **listed)))
    shake(layer, client(foreign_certificate))

    assert layer.describe().common_name == "eve"

    strict = TlsLayer(server_context(options(tls_client_auth_policy="require-verify", **listed)))
    with pytest.raises(LayerError):
        shake(strict, client(foreign_certificate))


def test_certificate_without_policy_is_not_asked_for(
    options: Options, client: Callable[..., Client], client_certificate: PemFiles
) -> None:
    """A client that has a certificate stays nameless if nobody wants to see it."""
    layer, peer = TlsLayer(server_context(options())), client(client_certificate)
    shake(layer, peer)

    assert not layer.describe().is_mutual


@pytest.mark.parametrize(
    "minimum,maximum,version",
    [
        ("tls1.0", ssl.TLSVersion.TLSv1, "TLS1.0"),
        ("tls1.1", ssl.TLSVersion.TLSv1_1, "TLS1.1"),
        ("tls1.2", ssl.TLSVersion.TLSv1_2, "TLS1.2"),
        ("tls1.3", ssl.TLSVersion.TLSv1_3, "TLS1.3"),
    ],
)
def test_version_may_be_as_old_as_the_minimum(
    options: Options, client: Callable[..., Client], minimum: str, maximum: ssl.TLSVersion, version: str
) -> None:
    """The oldest version that is allowed works, and is named as NSQ's statistics name it."""
    layer, peer = TlsLayer(server_context(options(tls_min_version=minimum))), client(maximum=maximum)
    shake(layer, peer)

    assert layer.describe().version == version
    assert layer.describe().cipher_suite.startswith("TLS_")


@pytest.mark.parametrize("minimum,maximum", [("tls1.2", ssl.TLSVersion.TLSv1_1), ("tls1.3", ssl.TLSVersion.TLSv1_2)])
def test_version_below_the_minimum_is_refused(
    options: Options, client: Callable[..., Client], minimum: str, maximum: ssl.TLSVersion
) -> None:
    """A client that can only speak an older version does not get in."""
    layer, peer = TlsLayer(server_context(options(tls_min_version=minimum))), client(maximum=maximum)

    with pytest.raises(LayerError):
        shake(layer, peer)


@pytest.mark.parametrize(
    "name,standard",
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        ("ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
        ("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"),
        ("DHE-RSA-AES128-CCM8", "TLS_DHE_RSA_WITH_AES_128_CCM_8"),
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ("PSK-AES128-CBC-SHA", "PSK-AES128-CBC-SHA"),
    ],
)
def test_cipher_has_its_standard_name(name: str, standard: str) -> None:
    """Statistics name cipher suites as the standard does, not as OpenSSL does."""
    assert standard_name(name) == standard


def test_bad_file_is_named(options: Options, server_certificate: PemFiles, tmp_path: Path) -> None:
    """A file that is missing, is no PEM or belongs to another key is the fault of its option."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk", encoding="utf-8")
    missing = str(tmp_path / "missing.pem")
    bad = [
        ("tls_cert", {"tls_cert": missing}),
        ("tls_key", {"tls_key": missing}),
        ("tls_cert", {"tls_cert": str(junk)}),
        ("tls_key", {"tls_key": str(junk)}),
        ("tls_key", {"tls_key": server_certificate.cert}),
        ("tls_root_ca_file", {"tls_client_auth_policy": "require", "tls_root_ca_file": missing}),
        ("tls_root_ca_file", {"tls_client_auth_policy": "require-verify", "tls_root_ca_file": str(junk)}),
    ]

    for option, given_ in bad:
        with pytest.raises(InvalidOptionError) as caught:
            server_context(options(**given_))
        assert caught.value.option == option


def test_key_with_a_passphrase_is_refused(options: Options, server_certificate: PemFiles, tmp_path: Path) -> None:
    """Nobody is asked for a passphrase at the terminal: the option is wrong."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(Path(server_certificate.key).read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(InvalidOptionError) as caught:
        server_context(options(tls_key=str(locked)))

    assert caught.value.option == "tls_key"


def test_system_authorities_do_without_a_file(options: Options) -> None:
    """Without a file of authorities clients are checked against the system's."""
    assert server_context(options(tls_client_auth_policy="require-verify")).verify_mode == ssl.CERT_REQUIRED


def test_auth_servers_are_checked_by_name(options: Options, certificate_authority: str) -> None:
    """With a file of authorities an auth server must be known to them, and be who it says."""
    context = client_context(options(tls_root_ca_file=certificate_authority))

    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
