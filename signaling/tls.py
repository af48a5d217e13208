# SPDX-License-Identifier: Apache-2.0
"""HTTPS: with the operator's certificate, or with one made at the start for a second device on the same network."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Browsers of Apple refuse certificates that live longer than 825 days; ours need not survive the process.
LIFETIME: Final = datetime.timedelta(days=90)
# Clocks of phones and laptops differ.
BACKDATED: Final = datetime.timedelta(days=1)
MAX_COMMON_NAME: Final = 64


class TlsError(Exception):
    """`setting` is the name of the setting that is at fault."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting: Final = setting
        self.message: Final = message


@dataclass(frozen=True, slots=True)
class Tls:
    context: ssl.SSLContext
    names: tuple[str, ...]
    """DNS names that the certificate is for."""
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it."""


def from_files(certificate: Path, key: Path | None) -> Tls:
    """TlsError where they cannot be used."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except OSError as error:
        raise TlsError("tls_cert", f"it cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise TlsError("tls_cert", "there is no PEM certificate in it") from None
    own = chain[0]
    if own.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
        raise TlsError("tls_cert", f"the certificate has expired on {own.not_valid_after_utc:%Y-%m-%d}")
    context = _new_context()
    setting = "tls_cert" if key is None else "tls_key"
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        reason = "it does not belong to the certificate" if mismatch else "there is no PEM private key in it"
        raise TlsError(setting, reason) from None
    except OSError as error:
        raise TlsError(setting, f"it cannot be read: {error.strerror or error}") from None
    return Tls(context, _dns_names(own), _fingerprint(own))


def self_signed(names: Iterable[str], addresses: Iterable[IpAddress]) -> Tls:
    """A certificate of its own making, for these names and addresses. Its key is never in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = list(dict.fromkeys(name for name in names if name.isascii()))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pysfu on {names[0]}"[:MAX_COMMON_NAME])])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [x509.DNSName(name) for name in names] + [x509.IPAddress(ip) for ip in dict.fromkeys(addresses)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        # Firefox takes no certificate of an authority for a server's own.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = _new_context()
    with _as_file(private + certificate.public_bytes(serialization.Encoding.PEM)) as path:
        context.load_cert_chain(path)
    return Tls(context, tuple(names), _fingerprint(certificate))


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path for a library that takes nothing else. In memory: the container's file system may be read-only."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_password() -> NoReturn:
    """Without it OpenSSL asks at the terminal."""
    raise TlsError("tls_key", "the key is encrypted; take one that is not, such as `openssl pkey -in KEY` makes")


def _dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
