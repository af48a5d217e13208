# SPDX-License-Identifier: Apache-2.0
"""SRTP in both directions: against the wheel's own binding, and against AES-GCM put together by hand from RFC 7714."""

import hashlib
import hmac
import threading
from collections.abc import Callable

import pylibsrtp
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.srtp import PROFILES, SrtpError, SrtpSession, hmac_sha1_digest, key_salt_size

CM80 = PROFILES["SRTP_AES128_CM_SHA1_80"]
GCM128 = PROFILES["SRTP_AEAD_AES_128_GCM"]
GCM256 = PROFILES["SRTP_AEAD_AES_256_GCM"]
TAG_SIZE = {CM80: 10, GCM128: 16, GCM256: 16}
BAD_AUTH, REPLAYED, FAILED = 1, 2, 3
MAX_INBOUND_SSRCS = 128

all_profiles = pytest.mark.parametrize("profile", [CM80, GCM128, GCM256])


def rtp(sequence: int, ssrc: int = 0x1234, payload: bytes = b"media") -> bytes:
    return b"\x80\x60" + (sequence & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big") + payload


def receiver_report(ssrc: int = 0x1234) -> bytes:
    return b"\x80\xc9\x00\x01" + ssrc.to_bytes(4, "big")


def key_for(profile: int) -> bytes:
    return bytes(range(7, 7 + key_salt_size(profile)))


def pair(profile: int) -> tuple[SrtpSession, SrtpSession]:
    return SrtpSession(profile, key_for(profile), True), SrtpSession(profile, key_for(profile), False)


def status_of(run: Callable[[bytes], bytes], packet: bytes) -> int:
    with pytest.raises(SrtpError) as caught:
        run(packet)
    return caught.value.status


def wheel_session(profile: int, ssrc_type: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(pylibsrtp.Policy(key=key_for(profile), ssrc_type=ssrc_type, srtp_profile=profile))


@all_profiles
def test_the_wheels_own_sessions_understand_us_and_we_them(profile: int) -> None:
    ours_out, ours_in = pair(profile)
    theirs_in = wheel_session(profile, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    theirs_out = wheel_session(profile, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    for sequence in range(10):
        packet = rtp(sequence, payload=bytes(sequence))
        protected = ours_out.protect(packet)
        assert len(protected) == len(packet) + TAG_SIZE[profile]
        assert theirs_in.unprotect(protected) == packet
        assert ours_in.unprotect(theirs_out.protect(packet)) == packet
        assert theirs_in.unprotect_rtcp(ours_out.protect_rtcp(receiver_report())) == receiver_report()
        assert ours_in.unprotect_rtcp(theirs_out.protect_rtcp(receiver_report())) == receiver_report()


def derived(master: bytes, salt: bytes, label: int, size: int) -> bytes:
    """RFC 3711 §4.3.1 with a key derivation rate of 0; RFC 7714 §11: zeros are appended to the 96-bit salt."""
    counter = bytearray(salt.ljust(16, b"\0"))
    counter[7] ^= label
    return Cipher(algorithms.AES(master), modes.CTR(bytes(counter))).encryptor().update(bytes(size))


@pytest.mark.parametrize("profile", [GCM128, GCM256])
def test_the_bytes_are_those_of_rfc_7714(profile: int) -> None:
    material = key_for(profile)
    master, salt = material[:-12], material[-12:]
    key = derived(master, salt, 0, len(master))
    session_salt = derived(master, salt, 2, 12)
    session = SrtpSession(profile, material, True)
    for sequence, roll_over in ((65_535, 0), (0, 1), (1, 1)):
        packet = rtp(sequence, ssrc=0xCAFEBABE)
        block = b"\0\0" + packet[8:12] + roll_over.to_bytes(4, "big") + packet[2:4]
        nonce = bytes(a ^ b for a, b in zip(block, session_salt, strict=True))
        assert session.protect(packet) == packet[:12] + AESGCM(key).encrypt(nonce, packet[12:], packet[:12])


@all_profiles
def test_an_index_is_protected_once(profile: int) -> None:
    outbound, _ = pair(profile)
    for sequence in (2000, 2002, 2001):
        outbound.protect(rtp(sequence))
    assert status_of(outbound.protect, rtp(2001, payload=b"other")) == REPLAYED
    assert status_of(outbound.protect, rtp(2002)) == REPLAYED
    outbound.protect(rtp(4000))
    assert status_of(outbound.protect, rtp(2003)) == REPLAYED, "never sent, but older than the window"
    outbound.protect(rtp(2001, ssrc=99))


@all_profiles
def test_replayed_and_forged_packets_are_told_apart(profile: int) -> None:
    outbound, inbound = pair(profile)
    first, second = outbound.protect(rtp(1)), outbound.protect(rtp(2))
    report = outbound.protect_rtcp(receiver_report())
    assert inbound.unprotect(second) == rtp(2)
    assert inbound.unprotect(first) == rtp(1), "overtaken, not replayed"
    assert inbound.unprotect_rtcp(report) == receiver_report()
    assert status_of(inbound.unprotect, first) == REPLAYED
    assert status_of(inbound.unprotect_rtcp, report) == REPLAYED
    for at in (2, 12, -1):
        forged = bytearray(outbound.protect(rtp(100 + at)))
        forged[at] ^= 1
        assert status_of(inbound.unprotect, bytes(forged)) == BAD_AUTH
    forged = bytearray(outbound.protect_rtcp(receiver_report()))
    forged[-1] ^= 1
    assert status_of(inbound.unprotect_rtcp, bytes(forged)) == BAD_AUTH


@all_profiles
def test_sequence_numbers_wrap(profile: int) -> None:
    outbound, inbound = pair(profile)
    for sequence in range(65_000, 65_536 + 65_536 + 100, 53):
        assert inbound.unprotect(outbound.protect(rtp(sequence))) == rtp(sequence)


@all_profiles
def test_garbage_harms_nothing(profile: int, scaled: Callable[[int], int]) -> None:
    outbound, inbound = pair(profile)

    @settings(max_examples=scaled(300), deadline=None)
    @given(st.binary(max_size=200), st.booleans())
    def check(tail: bytes, rtcp: bool) -> None:
        run = inbound.unprotect_rtcp if rtcp else inbound.unprotect
        for packet in (tail, b"\x80\xc9" + tail, b"\x9f\x60" + tail, b"\xbf\xff" + tail):
            assert status_of(run, packet) in (BAD_AUTH, FAILED)

    check()
    assert inbound.inbound_ssrcs == 0, "what is not authentic must not take memory"
    assert inbound.unprotect(outbound.protect(rtp(1))) == rtp(1)


@pytest.mark.parametrize("size", [0, 7, 11])
def test_what_is_shorter_than_a_header_fails(size: int) -> None:
    outbound, inbound = pair(GCM128)
    for run in (outbound.protect, inbound.unprotect):
        assert status_of(run, bytes(size)) == FAILED
    if size < 8:
        for run in (outbound.protect_rtcp, inbound.unprotect_rtcp):
            assert status_of(run, bytes(size)) == FAILED


def test_a_hostile_sender_of_many_ssrcs_is_bounded() -> None:
    outbound, inbound = pair(GCM128)
    steady = outbound.protect(rtp(0, ssrc=1))
    inbound.unprotect(steady)
    early = outbound.protect(rtp(0, ssrc=2))
    inbound.unprotect(early)
    for ssrc in range(1000, 1000 + 2 * MAX_INBOUND_SSRCS):
        inbound.unprotect(outbound.protect(rtp(7, ssrc=ssrc)))
        inbound.unprotect(outbound.protect(rtp(ssrc, ssrc=1)))
        assert inbound.inbound_ssrcs <= MAX_INBOUND_SSRCS
    assert status_of(inbound.unprotect, steady) == REPLAYED, "what is heard all the time keeps its state"
    assert inbound.unprotect(early) == rtp(0, ssrc=2), "what was silent longest is forgotten inside libsrtp too"


def test_sessions_open_in_one_thread_while_another_protects(scaled: Callable[[int], int]) -> None:
    outbound, inbound = pair(GCM128)
    stop = threading.Event()
    opened = 0

    def open_sessions() -> None:
        nonlocal opened
        while not stop.is_set():
            for profile in (GCM128, CM80):
                SrtpSession(profile, key_for(profile), opened % 2 == 0)
            opened += 1

    opener = threading.Thread(target=open_sessions)
    opener.start()
    try:
        for sequence in range(scaled(20_000)):
            assert inbound.unprotect(outbound.protect(rtp(sequence))) == rtp(sequence)
    finally:
        stop.set()
        opener.join()
    assert opened > 0


def test_wrong_use_is_refused() -> None:
    outbound, inbound = pair(GCM128)
    with pytest.raises(ValueError, match="outbound"):
        outbound.unprotect(rtp(1))
    with pytest.raises(ValueError, match="outbound"):
        inbound.protect(rtp(1))
    with pytest.raises(ValueError, match="unknown SRTP profile 2"):
        SrtpSession(2, bytes(30), True)
    with pytest.raises(ValueError, match="takes 28 bytes"):
        SrtpSession(GCM128, bytes(30), True)


def test_hmac_sha1_is_that_of_python(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(200), deadline=None)
    @given(st.binary(max_size=200), st.binary(max_size=2000))
    def check(key: bytes, data: bytes) -> None:
        assert hmac_sha1_digest(key, data) == hmac.new(key, data, hashlib.sha1).digest()

    check()
