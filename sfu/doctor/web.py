# SPDX-License-Identifier: Apache-2.0
"""The way to the server's door: name, TCP, TLS, HTTP, clock."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from sfu.doctor.findings import Report, Status

CONNECT_LIMIT_S: Final = 5.0
REQUEST_LIMIT_S: Final = 10.0
DEFAULT_PORT: Final = {"http": 80, "https": 443}
WEB_SCHEME: Final = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
EXPIRES_SOON_S: Final = 14 * 86_400
# The server allows tokens 10 s; the Date header counts whole seconds.
CLOCK_TOLERANCE_S: Final = 10.0
CLOCK_NOTE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_target(url: str) -> Target:
    """ValueError with what is wrong. A bare host is taken for HTTPS, as by a browser."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    scheme = WEB_SCHEME.get(parts.scheme)
    if scheme is None:
        raise ValueError(f"{parts.scheme}:// is none of http, https, ws, wss")
    if not parts.hostname:
        raise ValueError("there is no host in it")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port is not a number from 1 to 65535") from None
    return Target(scheme, parts.hostname, port or DEFAULT_PORT[scheme])


async def resolve(target: Target, report: Report) -> list[str]:
    """The server's addresses; none if the name is unknown."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        report.add(
            "dns", Status.FAIL, f"{target.host}: {error.strerror or error}",
            "check the spelling, and that the name has an A or AAAA record which this machine's resolver knows",
        )  # fmt: skip
        return []
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    passed_ms = (time.perf_counter() - began) * 1000
    literal = addresses == [target.host]
    report.add(
        "dns", Status.PASS, "an address, no name" if literal else f"{', '.join(addresses)} in {passed_ms:.0f} ms"
    )
    return addresses


async def connect(target: Target, addresses: list[str], report: Report) -> list[str]:
    """Those that take TCP connections."""
    failures: list[str] = []
    reached: list[str] = []
    for address in addresses:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                _, writer = await asyncio.open_connection(address, target.port)
        except TimeoutError:
            failures.append(f"{address}: no answer within {CONNECT_LIMIT_S:.0f} s")
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        else:
            writer.close()
            reached.append(address)
            report.add("tcp", Status.PASS, f"{address} port {target.port} in {_ms(began)}")
    for failure in failures:
        report.add(
            "tcp", Status.NOTE if reached else Status.FAIL, f"port {target.port} at {failure}",
            f"is the server running (`sfu serve`, --http-port {target.port}), listening on more than loopback "
            "(--http-host), and TCP let through by firewall and port forwarding?",
        )  # fmt: skip
    return reached


def _ms(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


def tls_context(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def check_tls(target: Target, report: Report, *, verify: bool) -> bool:
    """Whether HTTPS (or plain HTTP) can be spoken."""
    if target.scheme == "http":
        loopback = _is_loopback(target.host)
        report.add(
            "tls", Status.PASS if loopback else Status.NOTE, "none: plain HTTP",
            "" if loopback else "browsers give camera and microphone to https: pages and localhost only: use "
            "--tls-cert and --tls-key, or --tls self, or a proxy that ends TLS",
        )  # fmt: skip
        return True
    began = time.perf_counter()
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            _, writer = await asyncio.open_connection(
                target.host, target.port, ssl=tls_context(verify=verify), server_hostname=target.host
            )
    except ssl.SSLCertVerificationError as error:
        report.add("tls", Status.FAIL, error.verify_message, _certificate_advice(error))
        return False
    except (ssl.SSLError, TimeoutError, OSError) as error:
        report.add(
            "tls", Status.FAIL, f"no TLS at port {target.port}: {getattr(error, 'reason', None) or error}",
            "is this the HTTPS port? A server without --tls-cert or --tls self speaks http://",
        )  # fmt: skip
        return False
    connection = writer.get_extra_info("ssl_object")
    certificate = writer.get_extra_info("peercert") or {}
    left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time() if "notAfter" in certificate else None
    writer.close()
    detail = f"{connection.version()} in {_ms(began)}"
    if left_s is None:
        report.add("tls", Status.NOTE, f"{detail}; the certificate was not checked, as asked for by --insecure")
    elif left_s < EXPIRES_SOON_S:
        report.add(
            "tls", Status.NOTE, f"{detail}; the certificate expires in {left_s / 86_400:.0f} days",
            "renew it and start the server again",
        )  # fmt: skip
    else:
        report.add("tls", Status.PASS, f"{detail}; certificate good for {left_s / 86_400:.0f} days")
    return True


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    text = (error.verify_message or "").lower()
    if "expired" in text:
        return "renew the certificate; if it is not expired by its dates, this machine's clock is wrong"
    if "not yet valid" in text:
        return "this machine's clock is behind, or the certificate was made for later"
    if "mismatch" in text or "not valid for" in text:
        return "open the server by a name that its certificate has, or have one made for this name"
    if "self-signed" in text or "self signed" in text:
        return "nobody vouches for it (--tls self): compare the fingerprint that the server prints, then --insecure"
    return "the chain is incomplete or the issuer unknown here: --tls-cert takes the certificate with its whole chain"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def check_http(http: aiohttp.ClientSession, target: Target, report: Report) -> bool:
    """Whether a pysfu answers there that takes joins; its Date header tells about the clocks."""
    try:
        async with http.get(f"{target.url}/readyz", timeout=aiohttp.ClientTimeout(REQUEST_LIMIT_S)) as response:
            now_s = time.time()
            date = response.headers.get("Date")
            body = (await response.read())[:200].decode(errors="replace")
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        report.add(
            "http", Status.FAIL, f"GET /readyz: {type(error).__name__}: {error}",
            "something else than an HTTP server may listen there; try the address in a browser",
        )  # fmt: skip
        return False
    ready = status == 200 and '"status"' in body
    if ready:
        report.add("http", Status.PASS, "the server takes joins")
    elif status == 503:
        report.add("http", Status.FAIL, f"the server takes no joins now: {body}", "it starts or stops: try again")
    elif status == 403:
        report.add(
            "http",
            Status.FAIL,
            f"refused: {body}",
            "a server with --dev answers to its own names only: use its address",
        )
    else:
        report.add(
            "http",
            Status.FAIL,
            f"GET /readyz: status {status}: no pysfu",
            "check host and port, and the proxy's routes",
        )
    if date is not None:
        judge_clock(date, now_s, report)
    return ready


def judge_clock(date: str, now_s: float, report: Report) -> None:
    """`date`: the server's Date header; `now_s`: this machine's clock when it came."""
    try:
        server_s = email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return
    # The header was cut to whole seconds.
    ahead_s = now_s - server_s - 0.5
    if abs(ahead_s) <= CLOCK_NOTE_S:
        report.add("clock", Status.PASS, "this machine's and the server's agree to the second or two")
        return
    direction = "ahead of" if ahead_s > 0 else "behind"
    report.add(
        "clock", Status.FAIL if abs(ahead_s) > CLOCK_TOLERANCE_S else Status.NOTE,
        f"this machine's clock is {_duration(abs(ahead_s))} {direction} the server's",
        "tokens are refused when the clocks of who signs them and of the server differ by more than 10 s: "
        "set both by NTP (timedatectl set-ntp true)",
    )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
