# SPDX-License-Identifier: Apache-2.0
"""Candidates and passwords."""

import ipaddress
import re

import pytest
from aioice.candidate import Candidate

from sfu.transport.ice_lite import (
    MAX_CANDIDATES,
    IpAddress,
    candidate_addresses,
    host_candidates,
    interface_addresses,
    make_password,
)


def ips(*texts: str) -> list[IpAddress]:
    return [ipaddress.ip_address(text) for text in texts]


MACHINE = ips("127.0.0.1", "::1", "192.0.2.7", "198.51.100.7", "2001:db8::7", "fe80::7", "169.254.3.3")


def addresses(bound: str | None, *announce: str, dev: bool = False) -> list[str]:
    return [str(ip) for ip in candidate_addresses(bound, announce, dev=dev, interfaces=MACHINE)]


def test_all_interfaces_without_loopback_and_link_local() -> None:
    assert addresses(None) == ["192.0.2.7", "198.51.100.7", "2001:db8::7"]
    assert addresses("::") == addresses(None)
    assert addresses("0.0.0.0") == ["192.0.2.7", "198.51.100.7"]


def test_dev_adds_loopback_of_the_bound_families() -> None:
    assert addresses(None, dev=True) == ["192.0.2.7", "198.51.100.7", "2001:db8::7", "127.0.0.1", "::1"]
    assert addresses("0.0.0.0", dev=True) == ["192.0.2.7", "198.51.100.7", "127.0.0.1"]


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"])
def test_bound_to_one_address(bound: str) -> None:
    assert addresses(bound) == addresses(bound, dev=True) == [bound]


def test_announced_addresses_replace_all_others() -> None:
    assert addresses(None, "203.0.113.1", "2001:db8::1", "203.0.113.1", dev=True) == ["203.0.113.1", "2001:db8::1"]
    assert addresses("192.0.2.7", "203.0.113.1") == ["203.0.113.1"]
    assert addresses(None, "::ffff:203.0.113.1") == ["203.0.113.1"]


@pytest.mark.parametrize("announced", ["example.org", "0.0.0.0", "::", "224.0.0.1", ""])
def test_what_cannot_be_announced(announced: str) -> None:
    with pytest.raises(ValueError):
        addresses(None, announced)


def test_nothing_to_offer_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="--announce-ip"):
        candidate_addresses(None, [], dev=False, interfaces=ips("127.0.0.1", "fe80::1"))


def test_the_number_of_addresses_is_bounded() -> None:
    bridges = [ipaddress.ip_address(f"172.18.{n}.1") for n in range(100)]
    assert len(candidate_addresses(None, [], dev=False, interfaces=bridges)) == MAX_CANDIDATES


def test_this_machine_has_loopback() -> None:
    assert ipaddress.ip_address("127.0.0.1") in interface_addresses()
    assert candidate_addresses(None, [], dev=True)


def test_candidate_lines() -> None:
    lines = host_candidates(ips("127.0.0.1", "192.0.2.7", "198.51.100.7", "2001:db8::7", "::1"), 7882)
    parsed = [Candidate.from_sdp(line.removeprefix("candidate:")) for line in lines]
    assert [candidate.host for candidate in parsed] == ["2001:db8::7", "192.0.2.7", "198.51.100.7", "::1", "127.0.0.1"]
    assert {(c.port, c.transport, c.type, c.component) for c in parsed} == {(7882, "udp", "host", 1)}
    priorities = [candidate.priority for candidate in parsed]
    assert priorities == sorted(set(priorities), reverse=True)
    assert priorities[0] == 2130706431  # 2²⁴·126 + 2⁸·65535 + 255
    assert len({candidate.foundation for candidate in parsed}) == 5


def test_password_is_legal_and_never_the_same() -> None:
    passwords = {make_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{22,256}", password) for password in passwords)
