# SPDX-License-Identifier: Apache-2.0
"""The way of the media: STUN checks (RFC 8445, 8489) to each address that the server announces, and to where else it
may be."""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import enum
import errno
import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aioice import stun

from sfu.doctor.findings import Report, Status
from sfu.load.ice_client import PRIORITY, Address

# A check is repeated like RFC 8489, section 6.2.1, asks, but sooner given up: a person waits.
ATTEMPT_WAITS_S: Final = (0.25, 0.5, 0.75, 1.0)
# What the server sends at most (docs/architecture.md), and what IPv6 lets through in any case, less its headers.
MEDIA_SIZE: Final = 1200
SIZES: Final = (1200, 1100, 1000, 800, 548)
HEADERS: Final = {4: 28, 6: 48}
# Linux has names for them that Python lacks.
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
IPV6_MTU_DISCOVER = 23
# Comprehension-optional and unassigned: whoever does not know it skips it (RFC 8489, section 14).
PADDING_ATTRIBUTE: Final = 0xC0FE
ATTRIBUTE_HEADER: Final = 4
MESSAGE_INTEGRITY_SIZE: Final = 24
FINGERPRINT_SIZE: Final = 8
FINGERPRINT_XOR: Final = 0x5354554E
SEAL_SIZE: Final = MESSAGE_INTEGRITY_SIZE + FINGERPRINT_SIZE


class Reply(enum.Enum):
    ANSWERED = "answered"
    REFUSED = "refused"
    """ICMP port unreachable: nothing listens there."""
    FOREIGN = "foreign"
    """Something answers, but not this server."""
    UNREACHABLE = "unreachable"
    """No route, or not allowed to send."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of one answer of the server (RFC 8839)."""

    ufrag: str
    password: str
    own_ufrag: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of asking one address."""

    remote: Address
    reply: Reply
    reason: str = ""
    rtt_ms: float = 0.0
    local: Address = ("", 0)
    mapped: Address = ("", 0)
    """How the server sees us."""


class ProbeSocket:
    """One connected socket, so that the kernel reports ICMP errors to it."""

    def __init__(self, remote: Address, credentials: Credentials, *, fragment: bool = True) -> None:
        """OSError where there is no route. `fragment=False`: each datagram carries Don't Fragment."""
        self._remote = remote
        self._credentials = credentials
        version = ipaddress.ip_address(remote[0]).version
        self._socket = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            if not fragment:
                level, option = (
                    (socket.IPPROTO_IP, IP_MTU_DISCOVER) if version == 4 else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)
                )
                self._socket.setsockopt(level, option, IP_PMTUDISC_PROBE)
            self._socket.setblocking(False)
            self._socket.connect(remote)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    async def ask(self, size: int = 0, waits_s: Sequence[float] = ATTEMPT_WAITS_S) -> Probe:
        """A check, repeated until something answers. `size`: of the whole datagram, 0 for as small as it is."""
        request, transaction = write_check(self._credentials, size)
        refusal: OSError | None = None
        foreign = False
        for wait_s in waits_s:
            began = time.perf_counter()
            try:
                self._socket.send(request)
                found = await self._answer(transaction, wait_s)
            except OSError as error:
                refusal = error
                if error.errno == errno.EMSGSIZE:
                    break
                await asyncio.sleep(wait_s)
                continue
            if isinstance(found, stun.Message):
                rtt_ms = (time.perf_counter() - began) * 1000
                mapped = found.attributes.get("XOR-MAPPED-ADDRESS", ("", 0))
                local = self._socket.getsockname()[:2]
                return Probe(self._remote, Reply.ANSWERED, "", rtt_ms, local, mapped)
            foreign = foreign or found
        if foreign:
            return Probe(self._remote, Reply.FOREIGN)
        if refusal is not None:
            refused = refusal.errno == errno.ECONNREFUSED
            return Probe(
                self._remote, Reply.REFUSED if refused else Reply.UNREACHABLE, refusal.strerror or str(refusal)
            )
        return Probe(self._remote, Reply.SILENT)

    async def _answer(self, transaction: bytes, wait_s: float) -> stun.Message | bool:
        """The answer, or whether something came that is none."""
        loop = asyncio.get_running_loop()
        foreign = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while True:
                    datagram = await loop.sock_recv(self._socket, 2048)
                    message = _parse(datagram)
                    if message is not None and message.transaction_id == transaction:
                        genuine = message.message_class is stun.Class.RESPONSE and message.check_message_integrity(
                            self._credentials.password.encode()
                        )
                        if genuine:
                            return message
                    foreign = True
        return foreign


def write_check(credentials: Credentials, size: int = 0) -> tuple[bytes, bytes]:
    """A connectivity check and its transaction id. It is filled up to `size` bytes, rounded down to whole words."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{credentials.ufrag}:{credentials.own_ufrag}"
    request.attributes["PRIORITY"] = PRIORITY
    request.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
    data = bytes(request)
    filling = (size - len(data) - ATTRIBUTE_HEADER - SEAL_SIZE) & ~3
    if size and filling > 0:
        data += PADDING_ATTRIBUTE.to_bytes(2) + filling.to_bytes(2) + bytes(filling)
    # aioice writes only attributes that it knows, so what follows the filling is written here (RFC 8489, §14.5, §14.7).
    covered = _with_length(data, MESSAGE_INTEGRITY_SIZE)
    data += b"\x00\x08\x00\x14" + hmac.digest(credentials.password.encode(), covered, "sha1")
    data = _with_length(data, FINGERPRINT_SIZE)
    crc = binascii.crc32(data) ^ FINGERPRINT_XOR
    return data + b"\x80\x28\x00\x04" + crc.to_bytes(4), request.transaction_id


def _with_length(data: bytes, more: int) -> bytes:
    return data[:2] + (len(data) - stun.HEADER_LENGTH + more).to_bytes(2) + data[4:]


def _parse(datagram: bytes) -> stun.Message | None:
    try:
        return stun.parse_message(datagram)
    except ValueError:
        return None


async def probe(remote: Address, credentials: Credentials) -> Probe:
    try:
        sock = ProbeSocket(remote, credentials)
    except OSError as error:
        return Probe(remote, Reply.UNREACHABLE, error.strerror or str(error))
    try:
        return await sock.ask()
    finally:
        sock.close()


@dataclass(frozen=True, slots=True)
class Reach:
    """What was asked: the addresses that the server announces, and its web address with the ports that it announces."""

    announced: tuple[Probe, ...]
    guessed: tuple[Probe, ...] = ()


def judge_reach(reach: Reach, report: Report) -> bool:
    """Whether media can flow, and if not, why. Adds `announced` and `udp`."""
    answered = [found for found in reach.announced if found.reply is Reply.ANSWERED]
    shown = ", ".join(_shown(found.remote) for found in reach.announced)
    if answered:
        others = [found for found in reach.announced if found.reply is not Reply.ANSWERED]
        detail = f"{shown}" + (
            f"; no answer from {', '.join(_shown(found.remote) for found in others)}" if others else ""
        )
        report.add("announced", Status.PASS, detail)
        best = min(answered, key=lambda found: found.rtt_ms)
        report.add("udp", Status.PASS, f"{_shown(best.remote)} answers in {best.rtt_ms:.1f} ms")
        return True
    elsewhere = [found for found in reach.guessed if found.reply is Reply.ANSWERED]
    if elsewhere:
        right = elsewhere[0].remote[0]
        report.add(
            "announced", Status.FAIL, f"the server announces {shown}, where it cannot be reached from here; at "
            f"{_shown(elsewhere[0].remote)} it answers",
            f"start it with --announce-ip {right} (or SFU_ANNOUNCE_IP={right})",
        )  # fmt: skip
        report.add("udp", Status.PASS, f"{_shown(elsewhere[0].remote)} answers, though not announced")
        return False
    report.add("announced", *_judge_announced(reach, shown))
    report.add("udp", Status.FAIL, *_judge_silence(reach))
    return False


def _judge_announced(reach: Reach, shown: str) -> tuple[Status, str, str]:
    """What can be said of the addresses alone."""
    web = {ipaddress.ip_address(found.remote[0]) for found in reach.guessed}
    announced = [ipaddress.ip_address(found.remote[0]) for found in reach.announced]
    public_web = any(address.is_global for address in web)
    if public_web and not any(address.is_global for address in announced):
        return (
            Status.FAIL, f"{shown}: not reachable from outside the server's own network",
            "give the server its public address: --announce-ip",
        )  # fmt: skip
    if web and not web & set(announced):
        return (
            Status.NOTE, f"{shown}: not where the web server is",
            "if they are not meant to be different machines, --announce-ip is wrong",
        )  # fmt: skip
    return Status.PASS, shown, ""


def _judge_silence(reach: Reach) -> tuple[str, str]:
    probes = (*reach.announced, *reach.guessed)
    ports = sorted({found.remote[1] for found in probes})
    port = ", ".join(map(str, ports))
    refused = [found for found in probes if found.reply is Reply.REFUSED]
    foreign = [found for found in probes if found.reply is Reply.FOREIGN]
    if foreign or refused:
        found = (foreign or refused)[0]
        what = "something else than this server answers" if foreign else "nothing listens"
        return (
            f"at {_shown(found.remote)} {what}: the port leads to the wrong place",
            f"forward UDP port {port} to the server itself, with the same number outside and inside (--udp-port)",
        )
    if all(found.reply is Reply.UNREACHABLE for found in probes):
        reasons = ", ".join(sorted({found.reason for found in probes}))
        return f"nothing can be sent there from here: {reasons}", "check this machine's routes and its own firewall"
    advice = (
        f"open UDP port {port} in the server's firewall, security group and router; if others get through, it is "
        "the network here that lets no UDP out"
    )
    return f"no answer from UDP port {port}: UDP is blocked on the way", advice


def judge_nat(probes: Sequence[Probe], report: Report) -> None:
    """By how the server sees us (RFC 4787 words)."""
    translated = [found for found in probes if found.mapped[:2] != found.local[:2]]
    if not translated:
        report.add("nat", Status.PASS, "none: the server sees this machine's own address")
        return
    found = translated[0]
    moved = "address and port are" if found.mapped[1] != found.local[1] else "the address is"
    report.add(
        "nat", Status.PASS, f"{_shown(found.local)} is seen as {_shown(found.mapped)}: {moved} translated; any kind of "
        "NAT works with a server at a public address, for the client opens the way",
    )  # fmt: skip


async def check_mtu(remote: Address, credentials: Credentials, report: Report) -> int:
    """The largest of SIZES that passes in one piece, in bytes of UDP payload; 0 = none was answered."""
    headers = HEADERS[ipaddress.ip_address(remote[0]).version]
    passing = 0
    for size in SIZES:
        sock = ProbeSocket(remote, credentials, fragment=False)
        try:
            found = await sock.ask(size, ATTEMPT_WAITS_S[:3])
        finally:
            sock.close()
        if found.reply is Reply.ANSWERED:
            passing = size
            break
    if passing >= MEDIA_SIZE:
        report.add(
            "mtu", Status.PASS, f"datagrams of {MEDIA_SIZE} bytes pass in one piece, which is the largest that is sent"
        )
        return passing
    largest = (
        f"only up to {passing} bytes do (an MTU of about {passing + headers})" if passing else "smaller ones neither"
    )
    report.add(
        "mtu", Status.FAIL, f"datagrams of {MEDIA_SIZE} bytes do not pass in one piece; {largest}",
        f"raise the MTU of the VPN or tunnel on the way to at least {MEDIA_SIZE + HEADERS[6]}; where fragments are "
        "dropped, sound comes and pictures do not",
    )  # fmt: skip
    return passing


def _shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
