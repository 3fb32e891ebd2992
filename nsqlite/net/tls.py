"""TLS for the upgrade inside a connection: the server's context, and TLS as a layer of bytes.

The layer does no I/O: OpenSSL works between two buffers in memory, so TLS stacks with
compression and is tested without a socket.
"""

from __future__ import annotations

import re
import ssl
import warnings
from typing import Any, Final

import attrs

from nsqlite.errors import InvalidOptionError
from nsqlite.net.options import ListenerOptions
from nsqlite.net.protocol.compression import LayerError

_VERSIONS: Final = {
    "tls1.0": ssl.TLSVersion.TLSv1,
    "tls1.1": ssl.TLSVersion.TLSv1_1,
    "tls1.2": ssl.TLSVersion.TLSv1_2,
    "tls1.3": ssl.TLSVersion.TLSv1_3,
}
# OpenSSL's names as the standard (and nsqd's statistics) spell them: key exchange, cipher, digest.
_CIPHER: Final = re.compile(
    r"(?:(?P<exchange>(?:ECDHE|DHE)-(?:RSA|ECDSA|DSS))-)?"
    r"(?P<cipher>AES(?P<bits>128|256)|CHACHA20-POLY1305)(?P<mode>-GCM|-CCM8?)?(?:-(?P<digest>SHA\d*))?"
)


def server_context(options: ListenerOptions) -> ssl.SSLContext:
    """What every upgrade to TLS starts from. Reads files: make it before the loop is busy.

    A policy of "require-verify" takes certificates that chain to `tls_root_ca_file`, or to the
    system's authorities. "require" takes no less: nsqd asks for any certificate then and
    checks none of it, which Python's ssl cannot do. It does also take a certificate that is
    itself in `tls_root_ca_file`, whoever signed it.

    Raises:
        InvalidOptionError: Naming the option whose file cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_minimum_version(context, options.tls_min_version)
    _load_certificate(context, options)
    if options.tls_client_auth_policy:
        context.verify_mode = ssl.CERT_REQUIRED
        if options.tls_client_auth_policy == "require":
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if options.tls_root_ca_file:
            _load_authorities(context, options)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    return context


def client_context(options: ListenerOptions) -> ssl.SSLContext:
    """For requests to auth servers over https: they must chain to `tls_root_ca_file`.

    Raises:
        InvalidOptionError: The file cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load_authorities(context, options)
    return context


def _set_minimum_version(context: ssl.SSLContext, version: str) -> None:
    is_old = version in {"tls1.0", "tls1.1"}
    if is_old:
        # OpenSSL 3 has them at its lowest level only; whoever names such a version has clients that need it.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        if is_old:
            warnings.simplefilter("ignore", DeprecationWarning)  # the caller knows, and has said so
        context.minimum_version = _VERSIONS[version]


def _load_certificate(context: ssl.SSLContext, options: ListenerOptions) -> None:
    _check_readable("tls_cert", options.tls_cert)
    _check_readable("tls_key", options.tls_key)
    try:
        # Without a password OpenSSL would ask for one at the terminal, and wait.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
    except (ssl.SSLError, ValueError) as error:
        if _is_certificate(options.tls_cert):
            wanted = f"give the private key of tls_cert, PEM, without a passphrase ({error})"
            raise InvalidOptionError("tls_key", options.tls_key, wanted) from error
        raise InvalidOptionError("tls_cert", options.tls_cert, f"give a certificate, PEM ({error})") from error


def _load_authorities(context: ssl.SSLContext, options: ListenerOptions) -> None:
    path = options.tls_root_ca_file
    _check_readable("tls_root_ca_file", path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise InvalidOptionError("tls_root_ca_file", path, f"give certificates, PEM ({error})") from error


def _check_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InvalidOptionError(option, path, f"give a file that can be read ({error.strerror})") from error


def _is_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


@attrs.frozen
class TlsDescription:
    """What a handshake came to.

    Attributes:
        version: As NSQ's statistics spell it: "TLS1.3".
        cipher_suite: By its standard name, "TLS_AES_256_GCM_SHA384".
        common_name: Of the client's certificate; "" without one.
        is_mutual: Whether the client showed a certificate.
    """

    version: str
    cipher_suite: str
    common_name: str
    is_mutual: bool


class TlsLayer:
    """The server's side of TLS on one connection, between buffers: a `Layer` once `handshake` is done.

    Holds what was fed, up to one record of 16 KiB in plain, and OpenSSL's own 50 to 100 KiB.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        """Wait for the client's first bytes."""
        self._arrived = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=True)

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed and not decrypted, and plain ones that were not read."""
        return self._arrived.pending + self._tls.pending()

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._arrived.write(data)

    def handshake(self) -> bool:
        """Go as far as what arrived allows; whether it is done. Then send what is `outgoing`.

        Raises:
            LayerError: With the cause. What is `outgoing` tells the peer, in TLS.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise LayerError(_cause(error)) from error
        return True

    def outgoing(self) -> bytes:
        """What is to be sent now: of the handshake, or an alert."""
        return self._leaving.read()

    def read(self, limit: int) -> bytes:
        """Up to `limit` plain bytes; b"" when more must arrive.

        Raises:
            LayerError: It was tampered with, is no TLS, or the peer has ended it.
        """
        assert limit > 0, "nothing was asked for"
        try:
            data = self._tls.read(limit)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            raise LayerError(_cause(error)) from error
        if not data:  # Python's word for a good-bye
            raise LayerError("the peer has ended TLS", is_end=True)
        return data

    def encode(self, data: bytes) -> bytes:
        """Encrypt, in records of up to 16 KiB, behind whatever else is to be sent.

        Raises:
            LayerError: The connection is broken already.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise LayerError(_cause(error)) from error
        return self._leaving.read()

    def describe(self) -> TlsDescription:
        """What the handshake came to; only when it is done."""
        cipher = self._tls.cipher()
        assert cipher is not None, "asked before the handshake was done"
        certificate: dict[str, Any] = self._tls.getpeercert() or {}
        return TlsDescription(
            version=(self._tls.version() or "").replace("TLSv1.", "TLS1.").replace("TLSv1", "TLS1.0"),
            cipher_suite=standard_name(cipher[0]),
            common_name=_common_name(certificate),
            is_mutual=bool(certificate),
        )


def standard_name(cipher: str) -> str:
    """A cipher suite of OpenSSL's by its standard name; a rare one stays as it is."""
    found = _CIPHER.fullmatch(cipher)
    if found is None:
        return cipher  # TLS 1.3 has standard names already
    exchange = (found["exchange"] or "RSA").replace("-", "_")
    if found["bits"] is None:
        return f"TLS_{exchange}_WITH_CHACHA20_POLY1305_SHA256"
    mode = (found["mode"] or "-CBC")[1:].replace("CCM8", "CCM_8")
    return f"TLS_{exchange}_WITH_AES_{found['bits']}_{mode}" + (f"_{found['digest']}" if found["digest"] else "")


def _common_name(certificate: dict[str, Any]) -> str:
    for part in certificate.get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""


def _cause(error: ssl.SSLError) -> str:
    """OpenSSL's reason in a few words, without the place in its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
