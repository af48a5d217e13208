# SPDX-License-Identifier: Apache-2.0
"""The light bot's offer is what the server reads, and the server's answer what the bot reads."""

import pytest

from sfu.load.description import Answer, OfferedSection, Setup, read_answer, write_offer
from sfu.sdp.negotiation import LocalTransport, Offer, SlotMedia, parse_offer, write_answer

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
SECTIONS = [
    OfferedSection("audio", "audio", True, 11, stream_id="bot", cname="bot"),
    OfferedSection("video", "video", True, 21, 22, ("q", "h", "f"), "bot", "bot"),
    OfferedSection("v0", "video"),
    OfferedSection("a0", "audio"),
]


def offer(sections: list[OfferedSection], setup: Setup = "actpass") -> Offer:
    return parse_offer(
        write_offer(sections, ufrag="abcd", password="p" * 24, fingerprint=FINGERPRINT, setup=setup, version=1)
    )


def answer(given: Offer) -> Answer:
    slots = {
        section.mid: SlotMedia(1000 + section.index, 2000 + section.index, f"pair{section.index}", "track", "sfu")
        for section in given.sections
        if section.direction == "receive"
    }
    candidates = ("candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host",)
    return read_answer(write_answer(given, LocalTransport("ours", "w" * 24, FINGERPRINT, candidates), slots, 1))


def test_the_server_reads_the_offer() -> None:
    read = offer(SECTIONS)
    assert (read.ufrag, read.password, read.setup) == ("abcd", "p" * 24, "actpass")
    audio, video, video_slot, audio_slot = read.sections
    assert (audio.direction, audio.declared) == ("publish", ((11, None),))
    assert (video.direction, video.rids, video.declared) == ("publish", ("q", "h", "f"), ())
    assert [section.direction for section in (video_slot, audio_slot)] == ["receive", "receive"]
    assert [codec.rtx_payload_type for codec in video.codecs] == [97]
    assert len(audio.extensions) == 4
    assert len(video.extensions) == 5


def test_one_layer_is_declared_by_its_ssrcs() -> None:
    (video,) = offer([OfferedSection("video", "video", True, 21, 22, (), "bot", "bot")]).sections
    assert (video.rids, video.declared) == ((), ((21, 22),))


def test_the_bot_reads_the_answer() -> None:
    read = answer(offer(SECTIONS))
    assert (read.ufrag, read.password, read.setup, read.ice_lite) == ("ours", "w" * 24, "passive", True)
    assert read.fingerprints == (("sha-256", FINGERPRINT.removeprefix("sha-256 ")),)
    assert len(read.candidates) == 1
    slot = read.sections["v0"]
    assert (slot.direction, slot.ssrc, slot.rtx_ssrc, slot.stream_id) == ("sendonly", 1002, 2002, "pair2")
    assert (slot.codecs, slot.repairs) == ({96: "VP8", 97: "rtx"}, {96: 97})
    assert read.sections["video"].direction == "recvonly"
    assert read.sections["a0"].ssrc == 1003


def test_a_passive_offer_is_answered_actively() -> None:
    assert answer(offer(SECTIONS, "passive")).setup == "active"


def test_an_answer_without_a_transport_is_refused() -> None:
    with pytest.raises(ValueError, match="accepts no media"):
        read_answer("v=0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\n")
    with pytest.raises(ValueError, match="lacks ice-ufrag"):
        read_answer("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=setup:passive\r\n")
