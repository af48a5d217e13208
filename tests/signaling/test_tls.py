# SPDX-License-Identifier: Apache-2.0
"""HTTPS: a certificate made at the start, and certificates that somebody brings."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from sfu.config import ConfigError, Settings
from sfu.server import Server
from signaling import tls
from tests.signaling.conftest import running
from tests.signaling.websocket import Clients

HERE = Settings(dev=True, http_port=0, udp_port=0, udp_host="127.0.0.1", announce_ip=("127.0.0.1", "192.0.2.7"))


def write_pem(folder: Path, names: Iterable[str], *, days: int = 10) -> tuple[Path, Path]:
    """A certificate and its key, in two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=20))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(private_pem(key, serialization.NoEncryption()))
    return files


def private_pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


async def presented(server: Server) -> x509.Certificate:
    """What a client gets to see."""
    url = URL(server.url)
    assert url.host is not None
    assert url.port is not None
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", url.port))
    return x509.load_pem_x509_certificate(pem.encode())


async def test_a_certificate_of_its_own(http: aiohttp.ClientSession) -> None:
    async for server in running(HERE.model_copy(update={"tls": "self"})):
        assert server.url.startswith("https://127.0.0.1:")
        certificate = await presented(server)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
        own = {ipaddress.ip_address(text) for text in ("127.0.0.1", "192.0.2.7")}
        assert own <= set(names.get_values_for_type(x509.IPAddress))
        digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
        assert server.fingerprint is not None
        assert server.fingerprint.replace(":", "").lower() == digest
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime <= datetime.timedelta(days=825), "browsers of Apple refuse what lives longer"


async def test_who_trusts_that_certificate_joins(tmp_path: Path) -> None:
    async for server in running(HERE.model_copy(update={"tls": "self"})):
        certificate = await presented(server)
        trust = ssl.create_default_context(
            cadata=certificate.public_bytes(serialization.Encoding.PEM).decode(), purpose=ssl.Purpose.SERVER_AUTH
        )
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
            clients = Clients(http, server.url)
            assert await (await clients.join()).still_works()
            await clients.close()


async def test_each_start_makes_another() -> None:
    prints = set()
    for _ in range(2):
        async for server in running(HERE.model_copy(update={"tls": "self"})):
            prints.add(server.fingerprint)
    assert len(prints) == 2


async def test_a_certificate_that_is_brought(tmp_path: Path) -> None:
    certificate, key = write_pem(tmp_path, ["sfu.example.com", "*.example.org"])
    async for server in running(HERE.model_copy(update={"tls_cert": certificate, "tls_key": key})):
        port = URL(server.url).port
        assert server.urls == (f"https://sfu.example.com:{port}/", f"https://127.0.0.1:{port}/")
        assert server.fingerprint is None
        assert await presented(server) == x509.load_pem_x509_certificate(certificate.read_bytes())


async def test_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    certificate, key = write_pem(tmp_path, ["sfu.example.com"])
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    async for server in running(HERE.model_copy(update={"tls_cert": both})):
        assert server.url.startswith("https:")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_not_spoken() -> None:
    async for server in running(HERE.model_copy(update={"tls": "self"})):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=old)) as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(server.url)


@pytest.mark.parametrize(
    ("fault", "setting", "reason"),
    [
        ("no certificate", "tls_cert", "cannot be read: No such file"),
        ("not pem", "tls_cert", "no PEM certificate"),
        ("expired", "tls_cert", "expired on"),
        ("no key", "tls_key", "cannot be read: No such file"),
        ("key not pem", "tls_key", "no PEM private key"),
        ("other key", "tls_key", "does not belong to the certificate"),
        ("encrypted", "tls_key", "encrypted"),
        ("key nowhere", "tls_cert", "no PEM private key"),
    ],
)
async def test_what_cannot_be_used_is_named(tmp_path: Path, fault: str, setting: str, reason: str) -> None:
    certificate, key = write_pem(tmp_path, ["sfu.example.com"], days=-5 if fault == "expired" else 10)
    given: dict[str, Path | None] = {"tls_cert": certificate, "tls_key": key}
    match fault:
        case "no certificate":
            certificate.unlink()
        case "not pem":
            certificate.write_text("hello")
        case "no key":
            key.unlink()
        case "key not pem":
            key.write_text("hello")
        case "other key":
            key.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption()))
        case "encrypted":
            locked = serialization.BestAvailableEncryption(b"secret")
            key.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1()), locked))
        case "key nowhere":
            given["tls_key"] = None
    server = Server(HERE.model_copy(update=given))
    with pytest.raises(ConfigError) as caught:
        await server.start()
    (problem,) = caught.value.problems
    assert problem.startswith(f"{setting} = ")
    assert reason in problem
    assert "--" + setting.replace("_", "-") in problem


def test_names_that_no_certificate_can_have() -> None:
    made = tls.self_signed(["tea_room", "büro", "x" * 200], [ipaddress.ip_address("::1")])
    assert made.names == ("tea_room", "x" * 200)
