# SPDX-License-Identifier: Apache-2.0
"""AES-GCM put together on OpenSSL's cipher does what libsrtp does, packet by packet: bytes, refusals, roll-overs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pylibsrtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.srtp import PROFILES, SrtpError, SrtpSession, key_salt_size
from tests.captures.replay import CAPTURES, load

GCM128 = PROFILES["SRTP_AEAD_AES_128_GCM"]
GCM256 = PROFILES["SRTP_AEAD_AES_256_GCM"]
WINDOW = 1024
"""Packets, of both."""
OTHER_SSRC = 0xFEDCBA98

both_profiles = pytest.mark.parametrize("profile", [GCM128, GCM256])
keys = st.binary(min_size=44, max_size=44)
ssrcs = st.sampled_from([0, 1, OTHER_SSRC])
# Steps of a sender's 48-bit index: neighbours, gaps, returns, and strides that bring roll-overs on.
steps = st.one_of(
    st.integers(1, 3),
    st.integers(-1100, 1100),
    st.integers(20_000, 32_700),
    st.sampled_from([0, -WINDOW, 1 - WINDOW, 0x8000, 0x7FFF, 0x8001, -0x8000]),
)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """RTP with contributing sources, an extension and padding now and then; sequence number and SSRC come later."""
    sources = draw(st.lists(st.binary(min_size=4, max_size=4), max_size=3))
    words = draw(st.one_of(st.none(), st.binary(max_size=20)))
    body = draw(st.binary(max_size=1300))
    extension = b""
    if words is not None:
        words += bytes(-len(words) % 4)
        extension = b"\xbe\xde" + (len(words) // 4).to_bytes(2, "big") + words
    first = 0x80 | draw(st.sampled_from([0, 0x20])) | (0x10 if extension else 0) | len(sources)
    return bytes([first, draw(st.integers(0, 255))]) + bytes(10) + b"".join(sources) + extension + body


def stamped(packet: bytes, ssrc: int, sequence: int) -> bytes:
    return packet[:2] + (sequence & 0xFFFF).to_bytes(2, "big") + packet[4:8] + ssrc.to_bytes(4, "big") + packet[12:]


def libsrtp(profile: int, material: bytes, *, outbound: bool) -> pylibsrtp.Session:
    kind = pylibsrtp.Policy.SSRC_ANY_OUTBOUND if outbound else pylibsrtp.Policy.SSRC_ANY_INBOUND
    policy = pylibsrtp.Policy(key=material[: key_salt_size(profile)], ssrc_type=kind, srtp_profile=profile)
    policy.window_size = WINDOW
    return pylibsrtp.Session(policy)


def ours(profile: int, material: bytes, *, outbound: bool) -> SrtpSession:
    return SrtpSession(profile, material[: key_salt_size(profile)], outbound)


def result(run: Callable[[bytes], bytes], packet: bytes) -> bytes | None:
    """None: refused."""
    try:
        return run(packet)
    except (SrtpError, pylibsrtp.Error):
        return None


@both_profiles
def test_what_leaves_is_what_libsrtp_sends(profile: int, scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(80), deadline=None)
    @given(keys, st.integers(0, 0xFFFF), st.lists(st.tuples(ssrcs, steps, packets()), min_size=1, max_size=30))
    def check(material: bytes, start: int, sends: list[tuple[int, int, bytes]]) -> None:
        mine, theirs = ours(profile, material, outbound=True), libsrtp(profile, material, outbound=True)
        index = dict.fromkeys((0, 1, OTHER_SSRC), start)
        for ssrc, step, packet in sends:
            index[ssrc] += step
            plain = stamped(packet, ssrc, index[ssrc])
            assert result(mine.protect, plain) == result(theirs.protect, plain)

    check()


@both_profiles
def test_what_comes_is_read_as_libsrtp_reads_it(profile: int, scaled: Callable[[int], int]) -> None:
    """Sent in order through roll-overs; then lost, delayed, repeated, damaged or cut short on the way."""
    faults = st.sampled_from(["", "", "", "lost", "again", "later", "damaged", "cut"])

    @settings(max_examples=scaled(80), deadline=None)
    @given(
        keys,
        st.integers(0, 0xFFFF),
        st.lists(st.tuples(ssrcs, st.integers(1, 32_700), faults, packets(), st.integers(0)), min_size=1, max_size=30),
    )
    def check(material: bytes, start: int, sends: list[tuple[int, int, str, bytes, int]]) -> None:
        sender = libsrtp(profile, material, outbound=True)
        mine, theirs = ours(profile, material, outbound=False), libsrtp(profile, material, outbound=False)
        index = dict.fromkeys((0, 1, OTHER_SSRC), start)
        delayed: list[bytes] = []
        for ssrc, step, fault, packet, where in sends:
            index[ssrc] += step if step % 3 else 1
            sent = sender.protect(stamped(packet, ssrc, index[ssrc]))
            if fault == "damaged":
                at = where % len(sent)
                sent = sent[:at] + bytes([sent[at] ^ (1 << where % 8)]) + sent[at + 1 :]
            if fault == "cut":
                sent = sent[: where % len(sent)]
            arriving = {"lost": [], "again": [sent, sent], "later": []}.get(fault, [sent])
            if fault == "later":
                delayed.append(sent)
            else:
                arriving, delayed = arriving + delayed, []
            for one in arriving:
                assert result(mine.unprotect, one) == result(theirs.unprotect, one)

    check()


@both_profiles
def test_control_packets_are_those_of_libsrtp(profile: int, scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(60), deadline=None)
    @given(keys, st.lists(st.tuples(ssrcs, st.binary(max_size=300), st.integers(0)), min_size=1, max_size=20))
    def check(material: bytes, sends: list[tuple[int, bytes, int]]) -> None:
        mine, theirs = ours(profile, material, outbound=True), libsrtp(profile, material, outbound=True)
        reading, twin = ours(profile, material, outbound=False), libsrtp(profile, material, outbound=False)
        kept: list[bytes] = []
        for ssrc, body, where in sends:
            plain = b"\x80\xc8\x00\x06" + ssrc.to_bytes(4, "big") + body
            sent = mine.protect_rtcp(plain)
            assert sent == theirs.protect_rtcp(plain)
            kept.append(sent)
            again = kept[where % len(kept)]
            damaged = again[: where % len(again)] + b"\x00" + again[where % len(again) + 1 :]
            for one in (sent, again, damaged, again[: where % len(again)]):
                assert result(reading.unprotect_rtcp, one) == result(twin.unprotect_rtcp, one)

    check()


def captured() -> Iterator[bytes]:
    for name in CAPTURES:
        for packet in load(name).packets:
            yield packet.data


@both_profiles
def test_what_chromium_sent_passes_both_ways(profile: int) -> None:
    material = bytes(range(44))
    mine_out, mine_in = ours(profile, material, outbound=True), ours(profile, material, outbound=False)
    theirs_out, theirs_in = libsrtp(profile, material, outbound=True), libsrtp(profile, material, outbound=False)
    count = 0
    for packet in captured():
        sent = result(theirs_out.protect, packet)
        assert result(mine_out.protect, packet) == sent
        if sent is not None:
            assert mine_in.unprotect(sent) == theirs_in.unprotect(sent) == packet
            count += 1
    assert count > 1_000


@both_profiles
def test_a_long_stream_rolls_over_again_and_again(profile: int) -> None:
    material = bytes(range(44))
    out, reading = ours(profile, material, outbound=True), ours(profile, material, outbound=False)
    theirs = libsrtp(profile, material, outbound=False)
    indices = range(65_000, 5 * 65_536, 1_021)
    assert any(before >> 16 != after >> 16 for before, after in pairwise(indices))
    for index in indices:
        packet = stamped(b"\x80\x60" + bytes(10) + b"body", 7, index)
        sent = out.protect(packet)
        assert reading.unprotect(sent) == theirs.unprotect(sent) == packet
        # A neighbour from before, on the other side of the roll-over where that is near.
        late = stamped(packet, 7, index - 500)
        sent = out.protect(late)
        assert reading.unprotect(sent) == theirs.unprotect(sent) == late


def test_many_outbound_streams_keep_what_they_have_used() -> None:
    out = ours(GCM128, bytes(44), outbound=True)
    streams = range(1, 3_000)
    packet = b"\x80\x60" + bytes(10) + b"body"
    for ssrc in streams:
        out.protect(stamped(packet, ssrc, 9))
    for ssrc in streams:
        with pytest.raises(SrtpError, match="replayed"):
            out.protect(stamped(packet, ssrc, 9))
