# SPDX-License-Identifier: Apache-2.0
"""STUN: against the plain twin and aioice, both directions; answers are byte-identical to aioice's."""

import struct
from collections.abc import Callable

import pytest
from aioice import stun as aioice
from hypothesis import strategies as st

from sfu.wire import stun
from tests.reference import wire_stun as twin
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]
KEY = b"VOkJxbRl1RmTxUk/WvJxBt"

transaction_ids = st.binary(min_size=12, max_size=12)
keys = st.binary(min_size=1, max_size=80)
hosts = st.ip_addresses().map(str)
ports = st.integers(0, 65535)
attributes = st.one_of(
    st.tuples(st.just(0x0006), st.binary(max_size=40)),
    st.tuples(st.just(0x0024), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(0x0025), st.just(b"")),
    st.tuples(st.sampled_from((0x8029, 0x802A)), st.binary(min_size=8, max_size=8)),
    st.tuples(st.sampled_from((0xC057, 0x8022, 0x0020, 0x001C)), st.binary(max_size=20)),
)
messages = st.builds(
    twin.write,
    st.sampled_from((0x0001, 0x0011, 0x0101, 0x0111, 0x0003)),
    transaction_ids,
    st.lists(attributes, max_size=6),
    st.none() | st.just(KEY),
)


@st.composite
def resealed(draw: st.DrawFn) -> bytes:
    """Noise between a right header and a right FINGERPRINT, so that it gets past both."""
    data = struct.pack("!HHI", 1, 0, twin.COOKIE) + bytes(12) + draw(st.binary(max_size=60))
    data += bytes(-len(data) % 4)
    data += struct.pack("!HHI", 0x8028, 4, twin.fingerprint(data))
    return twin.with_length(data, 0)


inputs = st.one_of(hostile(messages, prefix=b"\0\1\0\x10\x21\x12\xa4\x42"), resealed())


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(stun.parse_message, data) == outcome(twin.parse_stun, data)

    for_all(check, inputs)


def test_integrity_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes, key: bytes) -> None:
        if outcome(stun.parse_message, data) is not ValueError:
            assert stun.verify(data, key) == twin.verify(data, key)

    for_all(check, inputs, st.just(KEY) | keys)


def binding_request(transaction_id: bytes, key: bytes, **more: object) -> bytes:
    values = {"USERNAME": "ours:theirs", "PRIORITY": 1853817087, "ICE-CONTROLLING": 2**63 + 5, **more}
    message = aioice.Message(aioice.Method.BINDING, aioice.Class.REQUEST, transaction_id, values)
    message.add_message_integrity(key)
    return bytes(message)


def test_requests_of_aioice_are_read(for_all: ForAll) -> None:
    def check(transaction_id: bytes, key: bytes, nominated: bool) -> None:
        data = binding_request(transaction_id, key, **({"USE-CANDIDATE": None} if nominated else {}))
        message = stun.parse_message(data)
        assert message.type == 1
        assert message.transaction_id == transaction_id
        assert message.username == b"ours:theirs"
        assert message.priority == 1853817087
        assert (message.controlling, message.controlled, message.tie_breaker) == (True, False, 2**63 + 5)
        assert message.use_candidate == nominated
        assert message.has_integrity
        assert message.has_fingerprint
        assert stun.verify(data, key)
        assert not stun.verify(data, key + b"x")

    for_all(check, transaction_ids, keys, st.booleans())


def test_any_changed_bit_breaks_the_integrity(for_all: ForAll) -> None:
    data = binding_request(bytes(12), KEY)

    def check(position: int) -> None:
        damaged = bytearray(data[:-8])  # without FINGERPRINT, which would find it first
        damaged[position // 8] ^= 1 << position % 8
        struct.pack_into("!H", damaged, 2, len(damaged) - 20)
        changed = bytes(damaged) != data[:2] + struct.pack("!H", len(data) - 28) + data[4:-8]
        if changed and outcome(stun.parse_message, bytes(damaged)) is not ValueError:
            assert not stun.verify(bytes(damaged), KEY)

    for_all(check, st.integers(0, 8 * (len(data) - 8) - 1))


def test_success_is_that_of_aioice(for_all: ForAll) -> None:
    def check(transaction_id: bytes, host: str, port: int, key: bytes) -> None:
        ours = stun.write_success(transaction_id, host, port, key)
        theirs = aioice.Message(aioice.Method.BINDING, aioice.Class.RESPONSE, transaction_id)
        theirs.attributes["XOR-MAPPED-ADDRESS"] = (host, port)
        theirs.add_message_integrity(key)
        assert ours == bytes(theirs)
        assert ours == twin.write(
            0x0101, transaction_id, [(0x0020, twin.xor_mapped_address(host, port, transaction_id))], key
        )
        parsed = aioice.parse_message(ours)
        assert parsed.attributes["XOR-MAPPED-ADDRESS"] == (host, port)
        assert parsed.check_message_integrity(key)

    # A v4-mapped address is IPv4 to us: the engine's sockets are dual-stack.
    for_all(check, transaction_ids, hosts.filter(lambda host: not host.startswith("::ffff:")), ports, keys)


def test_v4_mapped_is_answered_as_ipv4() -> None:
    mapped = stun.write_success(bytes(12), "::ffff:192.0.2.1", 7, KEY)
    assert mapped == stun.write_success(bytes(12), "192.0.2.1", 7, KEY)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (420, "Unknown Attribute"),
        (487, "Role Conflict"),
        (500, "Server Error"),
        (300, ""),
    ],
)
def test_error_is_that_of_aioice(code: int, reason: str) -> None:
    theirs = aioice.Message(aioice.Method.BINDING, aioice.Class.ERROR, bytes(range(12)))
    theirs.attributes["ERROR-CODE"] = (code, reason)
    theirs.add_fingerprint()
    assert stun.write_error(bytes(range(12)), code, None) == bytes(theirs)
    theirs.add_message_integrity(KEY)
    assert stun.write_error(bytes(range(12)), code, KEY) == bytes(theirs)


@pytest.mark.parametrize("code", [0, 299, 700])
def test_codes_out_of_range_are_refused(code: int) -> None:
    with pytest.raises(ValueError):
        stun.write_error(bytes(12), code, None)


def test_attributes_behind_the_integrity_do_not_count() -> None:
    data = struct.pack("!HHI", 1, 0, twin.COOKIE) + bytes(12)
    data += struct.pack("!HH", 8, 20) + twin.integrity(data, KEY)
    data += struct.pack("!HH", 0x25, 0)
    message = stun.parse_message(twin.with_length(data, 0))
    assert not message.use_candidate
    assert stun.verify(twin.with_length(data, 0), KEY)


def test_role_conflict_is_seen() -> None:
    message = stun.parse_message(twin.write(1, bytes(12), [(0x8029, bytes(8))], KEY))
    assert (message.controlling, message.controlled) == (False, True)


def test_rfc_5769_request() -> None:
    """Test vector 2.1 of RFC 5769, whose attributes are padded with blanks."""
    data = bytes.fromhex(
        "000100582112a442b7e7a701bc34d686fa87dfae"
        "80220010" + b"STUN test client".hex() + "002400046e0001ff"
        "80290008932ff9b151263b36"
        "00060009" + b"evtj:h6vY   ".hex() + "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
        "80280004e57a3bcf"
    )
    message = stun.parse_message(data)
    assert message.username == b"evtj:h6vY"
    assert message.priority == 0x6E0001FF
    assert message.controlled
    assert stun.verify(data, b"VOkJxbRl1RmTxUk/WvJxBt")


def test_oversized_and_foreign_datagrams_are_refused() -> None:
    filler = [(0x8022, bytes(1484 - 20 - 12))]
    assert stun.parse_message(twin.write(1, bytes(12), [*filler, (0x8022, b"")], None)).has_fingerprint
    for data in (twin.write(1, bytes(12), [(0x8022, bytes(1480))], None), b"", bytes(20), b"\x16\xfe\xfd" + bytes(40)):
        with pytest.raises(ValueError):
            stun.parse_message(data)
    assert not stun.is_message(b"\x80\x60" + bytes(30))
    assert stun.is_message(twin.write(1, bytes(12), [], None))
