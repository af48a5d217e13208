# SPDX-License-Identifier: Apache-2.0
"""Our side of ICE-lite that is not per packet: the password, and the host candidates a client is offered.

Connectivity checks are answered by the engine, which also makes the ufrag (it names the worker).
"""

from __future__ import annotations

import ipaddress
import itertools
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

import ifaddr

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 8445, section 5.3 asks for 128 bits of randomness and at least 22 characters; hex digits are legal in every SDP
# parser.
PASSWORD_BYTES: Final = 16

# RFC 8445, section 5.1.2: 126 is the recommended preference of a host candidate; component 1 is RTP (with RTCP in it).
HOST_TYPE_PREFERENCE: Final = 126
MAX_LOCAL_PREFERENCE: Final = 65535
COMPONENT: Final = 1

# A machine with many container bridges has dozens of addresses, and each costs a client a check per interface of its
# own.
MAX_CANDIDATES: Final = 16


def make_password() -> str:
    return secrets.token_hex(PASSWORD_BYTES)


def interface_addresses() -> list[IpAddress]:
    """Every address of this machine, in the order of its interfaces."""
    ips = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [ipaddress.ip_address(ip if isinstance(ip, str) else ip[0]) for ip in ips]


def candidate_addresses(
    bound_host: str | None, announce: Sequence[str], *, dev: bool, interfaces: Iterable[IpAddress] | None = None
) -> list[IpAddress]:
    """The addresses to offer for a socket bound to `bound_host` (None: all addresses of both families).

    `announce` replaces what the machine knows of itself (a server behind NAT). `dev` adds loopback, for browsers on the
    same machine. ValueError if nothing is left.
    """
    if announce:
        return list(dict.fromkeys(_announced(text) for text in announce))
    bound = None if bound_host is None else ipaddress.ip_address(bound_host)
    if bound is not None and not bound.is_unspecified:
        return [_unmapped(bound)]
    both_families = bound is None or bound.version == 6  # the engine's IPv6 socket is dual-stack
    addresses = [
        ip for ip in (interface_addresses() if interfaces is None else interfaces) if both_families or ip.version == 4
    ]
    offered = [
        ip for ip in addresses if not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified)
    ]
    if dev:
        offered += [ip for ip in addresses if ip.is_loopback]
    if not offered:
        raise ValueError(
            "no address to offer: this machine has none but loopback and link-local; name one with --announce-ip"
        )
    return list(dict.fromkeys(offered))[:MAX_CANDIDATES]


def host_candidates(addresses: Sequence[IpAddress], port: int) -> tuple[str, ...]:
    """`a=candidate` lines without the `a=`, the most preferred first.

    Each address is its own base, hence its own foundation. IPv6 comes before IPv4 at equal rank, and the families
    alternate (RFC 8421, section 4), so that a broken one costs a client one check and not the whole list.
    """
    ordered = _interleaved(addresses)
    return tuple(
        f"candidate:{rank + 1} {COMPONENT} udp {_priority(rank)} {ip} {port} typ host"
        for rank, ip in enumerate(ordered)
    )


def _priority(rank: int) -> int:
    return (HOST_TYPE_PREFERENCE << 24) + ((MAX_LOCAL_PREFERENCE - rank) << 8) + (256 - COMPONENT)


def _interleaved(addresses: Sequence[IpAddress]) -> list[IpAddress]:
    """Alternating families, each in its given order; loopback last, as it is of use on one machine only."""
    ordered: list[IpAddress] = []
    for loopback in (False, True):
        for pair in itertools.zip_longest(
            (ip for ip in addresses if ip.version == 6 and ip.is_loopback is loopback),
            (ip for ip in addresses if ip.version == 4 and ip.is_loopback is loopback),
        ):
            ordered += [ip for ip in pair if ip is not None]
    return ordered


def _announced(text: str) -> IpAddress:
    ip = _unmapped(ipaddress.ip_address(text))
    if ip.is_unspecified or ip.is_multicast:
        raise ValueError(f"{text} is not an address that a client can send to")
    return ip


def _unmapped(ip: IpAddress) -> IpAddress:
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip if mapped is None else mapped
