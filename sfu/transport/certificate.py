# SPDX-License-Identifier: Apache-2.0
"""The process' DTLS identity: one self-signed certificate and the one TLS context that every handshake shares."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

# Browsers do not look at the dates of a certificate that the SDP names by fingerprint; a server that runs for months
# must still show one that is formally valid to peers that do. The day before covers clocks that lag.
VALIDITY_DAYS: Final = 365
BACKDATE_DAYS: Final = 1

# DTLS 1.2 is the floor of WebRTC (RFC 8827, section 6.5); the value is its protocol version on the wire.
DTLS_1_2: Final = 0xFEFD

# The ECDSA suites serve our own P-256 certificate when we are the DTLS server; the RSA twins let in a peer (GStreamer
# for one) that is the server and has an RSA certificate. AES-GCM only: every WebRTC endpoint has it (RFC 8827,
# section 6.5), and the endpoint knows how short a record of it can be.
CIPHERS: Final = b":".join(
    (
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
    )
)

# From weakest to strongest. SHA-1 and MD5 fingerprints are not accepted.
FINGERPRINT_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class SrtpProfile:
    """One DTLS-SRTP protection profile: its registered number, its name in OpenSSL, and how much key it takes."""

    number: int  # RFC 5764 section 4.1.2, RFC 7714 section 14.2; also the engine's number
    name: bytes
    key_size: int
    salt_size: int

    @property
    def exported_size(self) -> int:
        """Bytes of keying material for both directions."""
        return 2 * (self.key_size + self.salt_size)

    def split(self, exported: bytes) -> tuple[bytes, bytes]:
        """(client write, server write) key + salt from the exporter's output, which holds key, key, salt, salt (RFC
        5764, section 4.2).
        """
        key, salt = self.key_size, self.salt_size
        salts = 2 * key
        return (
            exported[:key] + exported[salts : salts + salt],
            exported[key : 2 * key] + exported[salts + salt : salts + 2 * salt],
        )


# Our order wins when we are the DTLS server. GCM first: it is half the cost of CM with SHA-1; 128 before 256 bit by the
# engine's choice.
SRTP_PROFILES: Final[tuple[SrtpProfile, ...]] = (
    SrtpProfile(number=7, name=b"SRTP_AEAD_AES_128_GCM", key_size=16, salt_size=12),
    SrtpProfile(number=8, name=b"SRTP_AEAD_AES_256_GCM", key_size=32, salt_size=12),
    SrtpProfile(number=1, name=b"SRTP_AES128_CM_SHA1_80", key_size=16, salt_size=14),
)


def digest(certificate: x509.Certificate, algorithm: str) -> str:
    """The value of an SDP fingerprint: upper-case hex pairs with colons. `algorithm`: one of `FINGERPRINT_HASHES`."""
    return certificate.fingerprint(FINGERPRINT_HASHES[algorithm]).hex(":").upper()


def matches(certificate: x509.Certificate, fingerprints: Sequence[tuple[str, str]]) -> bool:
    """Whether a peer's certificate is one that its SDP announced.

    As RFC 8122, section 5 has it: of the announced hash functions only the strongest that we know counts, and one of
    its values must match.
    """
    announced = [(algorithm.lower(), value.upper()) for algorithm, value in fingerprints]
    for algorithm in reversed(FINGERPRINT_HASHES):
        values = {value for name, value in announced if name == algorithm}
        if values:
            return digest(certificate, algorithm) in values
    return False


PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Certificate:
    """A key with its self-signed certificate. One per process is enough; an ECDSA P-256 key, the default, is made
    within a millisecond.
    """

    def __init__(self, profiles: Sequence[SrtpProfile] = SRTP_PROFILES, key: PrivateKey | None = None) -> None:
        """`profiles` in the order of preference; a client that wants to pin one (a test, a bot) names fewer."""
        self.profiles: Final = tuple(profiles)
        self._key = key or ec.generate_private_key(ec.SECP256R1())
        self.x509: Final = _self_signed(self._key)
        self.fingerprint: Final = "sha-256 " + digest(self.x509, "sha-256")
        """As in `a=fingerprint:`."""
        self.context: Final = self._make_context()
        """The TLS context for both roles. Sharing it saves 0.3 ms and 23 kB a handshake."""

    def profile_named(self, name: bytes) -> SrtpProfile | None:
        return next((profile for profile in self.profiles if profile.name == name), None)

    def _make_context(self) -> SSL.Context:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(DTLS_1_2)
        # NO_QUERY_MTU: without it OpenSSL forgets the datagram size it was told. No tickets, no cache: a session is
        # never resumed.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_cipher_list(CIPHERS)
        context.set_tlsext_use_srtp(b":".join(profile.name for profile in self.profiles))
        # The peer must show a certificate; whether it is the right one is decided by its fingerprint after the
        # handshake.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accept_any_certificate)
        context.use_certificate(self.x509)
        context.use_privatekey(self._key)
        return context


def _accept_any_certificate(*_: object) -> bool:
    return True


def _self_signed(key: PrivateKey) -> x509.Certificate:
    # A random name: a fixed one would tell which software runs here.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(16))])
    now = datetime.datetime.now(tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=BACKDATE_DAYS))
        .not_valid_after(now + datetime.timedelta(days=VALIDITY_DAYS))
        .sign(key, hashes.SHA256())
    )
