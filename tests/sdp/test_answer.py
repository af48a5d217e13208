# SPDX-License-Identifier: Apache-2.0
"""The answer: legal to each captured offer by rules of our own, readable by aiortc, and as it was found to work."""

from dataclasses import replace
from pathlib import Path

import aiortc.sdp
import pytest

from sfu.sdp.negotiation import LocalTransport, SlotMedia, parse_offer, write_answer
from tests.sdp.answer_rules import check_answer, split_sections, values
from tests.sdp.descriptions import CAPTURES, LOCAL, OPUS, VP8, audio, captured, offer_text, slots_of, video

TRANSPORT = [f"a=ice-ufrag:{LOCAL.ufrag}", f"a=ice-pwd:{LOCAL.password}", f"a=fingerprint:{LOCAL.fingerprint}"]
CANDIDATES = [*(f"a={candidate}" for candidate in LOCAL.candidates), "a=end-of-candidates"]


def answered(text: str) -> str:
    offer = parse_offer(text)
    answer = write_answer(offer, LOCAL, slots_of(offer), 1)
    check_answer(text, answer)
    return answer


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_legal_answer_that_aiortc_reads(path: Path) -> None:
    text = path.read_bytes().decode()
    answer = answered(text)
    offer = parse_offer(text)
    read = aiortc.sdp.SessionDescription.parse(answer)
    assert [media.kind for media in read.media] == [section.kind for section in offer.sections]
    for media, section in zip(read.media, offer.sections, strict=True):
        assert media.rtp.muxId == section.mid
        assert (media.port == 0) == section.rejected
        if section.rejected:
            continue
        assert media.rtcp_mux
        assert (
            media.direction == {"publish": "recvonly", "receive": "sendonly", "inactive": "inactive"}[section.direction]
        )
        assert [codec.payloadType for codec in media.rtp.codecs if codec.name != "rtx"] == [
            codec.payload_type for codec in section.codecs
        ]
        assert {extension.id: extension.uri for extension in media.rtp.headerExtensions} == section.extensions
        assert media.ice is not None
        assert media.ice.iceLite
        assert (media.ice.usernameFragment, media.ice.password) == (LOCAL.ufrag, LOCAL.password)
        assert media.dtls is not None
        assert media.dtls.role == ("client" if offer.setup == "passive" else "server")


def test_publisher_section_as_it_worked_with_chromium() -> None:
    """Line by line: whatever changes here is to be tried with browsers again."""
    session, (microphone, camera, data) = split_sections(answered(captured("chromium-156-simulcast-offer")))
    assert session == [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
        "a=ice-lite",
        "a=ice-options:ice2",
    ]
    assert microphone == [
        "m=audio 40000 UDP/TLS/RTP/SAVPF 111 63 0 8",
        "c=IN IP4 192.0.2.7",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        *TRANSPORT,
        "a=setup:passive",
        *CANDIDATES,
    ]
    assert camera[:26] == [
        "m=video 40000 UDP/TLS/RTP/SAVPF 96 97 102 103 104 107 108 109 114 115 116 117 39 40 45 46 98 99 100 101",
        "c=IN IP4 192.0.2.7",
        "a=mid:1",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:13 urn:3gpp:video-orientation",
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 goog-remb",
        "a=rtcp-fb:96 transport-cc",
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:102 H264/90000",
        "a=rtcp-fb:102 goog-remb",
        "a=rtcp-fb:102 transport-cc",
        "a=rtcp-fb:102 ccm fir",
        "a=rtcp-fb:102 nack",
        "a=rtcp-fb:102 nack pli",
    ]
    assert camera[-11:] == [
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:f recv",
        "a=simulcast:recv q;h;f",
        *TRANSPORT,
        "a=setup:passive",
        *CANDIDATES,
    ]
    assert data == ["m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:2"]


def test_slot_section() -> None:
    """The wish of the subscriber capture, as if it had been an offer."""
    _, (sound, picture) = split_sections(answered(captured("chromium-156-subscriber-answer")))
    assert "a=sendonly" in sound
    assert sound[sound.index("a=fmtp:111 minptime=10;useinbandfec=1") + 1 :][:2] == [
        "a=msid:pair-0 slot-0",
        "a=ssrc:1000 cname:server",
    ]
    assert values(picture, "extmap") == [
        "3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "4 urn:ietf:params:rtp-hdrext:sdes:mid",
    ]
    assert values(picture, "rtcp-fb") == ["96 transport-cc", "96 ccm fir", "96 nack", "96 nack pli"]
    assert picture[picture.index("a=fmtp:97 apt=96") + 1 :][:4] == [
        "a=msid:pair-1 slot-1",
        "a=ssrc-group:FID 1001 2001",
        "a=ssrc:1001 cname:server",
        "a=ssrc:2001 cname:server",
    ]


def test_every_slot_of_a_capture_is_served() -> None:
    for name in ("chromium-156-slots-offer", "firefox-153-slots-offer"):
        _, sections = split_sections(answered(captured(name)))
        assert [values(section, "ssrc")[0] for section in sections[2:]] == [
            f"{1000 + index} cname:server" for index in range(2, 12)
        ]
        assert [len(values(section, "ssrc-group")) for section in sections[2:]] == [1] * 4 + [0] * 6


def test_an_extension_that_was_offered_one_way_is_answered_the_other_way() -> None:
    _, sections = split_sections(answered(captured("firefox-153-slots-offer")))
    assert "9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" in values(sections[1], "extmap")
    assert "3 urn:ietf:params:rtp-hdrext:sdes:mid" in values(sections[1], "extmap")


def test_a_receive_section_without_a_slot_is_inactive() -> None:
    offer = parse_offer(offer_text(video("0", *VP8, "a=recvonly"), audio("1", *OPUS, "a=sendonly")))
    _, (picture, _) = split_sections(write_answer(offer, LOCAL, {}, 1))
    assert "a=inactive" in picture
    assert not values(picture, "ssrc") + values(picture, "msid")


def test_no_retransmission_source_without_its_payload_type() -> None:
    offer = parse_offer(offer_text(video("0", VP8[0], "a=recvonly", formats="96")))
    _, (picture,) = split_sections(write_answer(offer, LOCAL, {"0": SlotMedia(7, 8, "s", "t", "c")}, 1))
    assert values(picture, "ssrc") == ["7 cname:c"]
    assert not values(picture, "ssrc-group")


def test_what_describes_the_sender_itself_is_not_echoed() -> None:
    answer = answered(captured("gstreamer-1.22-webrtcbin-offer"))
    assert "sprop" not in answer
    assert "a=fmtp" not in answer
    assert "a=extmap-allow-mixed" not in answer


def test_mixed_header_extensions_per_section() -> None:
    text = offer_text(video("0", *VP8, "a=extmap-allow-mixed"), audio("1", *OPUS))
    session, (picture, sound) = split_sections(answered(text))
    assert "a=extmap-allow-mixed" in picture
    assert "a=extmap-allow-mixed" not in [*session, *sound]


def test_active_to_a_passive_client() -> None:
    _, (picture,) = split_sections(answered(captured("ffmpeg-9-whip-offer")))
    assert values(picture, "setup") == ["active"]


def test_a_policy_may_refuse_a_section() -> None:
    """Rooms refuse by marking the section; its kind and formats go back with port 0."""
    text = captured("chromium-156-simulcast-offer")
    offer = parse_offer(text)
    refused = replace(offer, sections=(replace(offer.sections[0], rejected=True), *offer.sections[1:]))
    answer = write_answer(refused, LOCAL, {}, 1)
    check_answer(text, answer)
    session, (microphone, camera, _) = split_sections(answer)
    assert microphone[0] == "m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126"
    assert "a=group:BUNDLE 1" in session
    assert camera[-3:] == CANDIDATES


def test_an_answer_that_accepts_nothing_has_no_bundle() -> None:
    session, (section,) = split_sections(answered(offer_text(video("0", "a=rtpmap:96 H265/90000"))))
    assert not values(session, "group")
    assert section == ["m=video 0 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0", "a=mid:0", "a=inactive"]


@pytest.mark.parametrize(
    ("candidates", "port", "connection"),
    [
        ((), "9", "c=IN IP4 0.0.0.0"),
        (("candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",), "9", "c=IN IP4 0.0.0.0"),
        (LOCAL.candidates[::-1], "40000", "c=IN IP6 2001:db8::7"),
    ],
)
def test_default_destination(candidates: tuple[str, ...], port: str, connection: str) -> None:
    offer = parse_offer(offer_text(audio("0", *OPUS)))
    _, (section,) = split_sections(write_answer(offer, replace(LOCAL, candidates=candidates), {}, 1))
    assert section[0].split()[1] == port
    assert section[1] == connection
    assert "a=end-of-candidates" in section


def test_versions_count_and_the_session_stays_the_same() -> None:
    offer = parse_offer(offer_text(audio("0", *OPUS)))
    local = LocalTransport("u" * 8, "p" * 24, LOCAL.fingerprint, (), session_id=77)
    origins = [write_answer(offer, local, {}, version).split("\r\n")[1] for version in (1, 2)]
    assert origins == ["o=- 77 1 IN IP4 127.0.0.1", "o=- 77 2 IN IP4 127.0.0.1"]


@pytest.mark.parametrize("value", ["", "a b", "a\r\na=x", "\t"])
def test_a_slot_cannot_break_out_of_its_line(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        SlotMedia(1, 2, value, "t", "c")
    with pytest.raises(ValueError, match="cannot stand"):
        SlotMedia(1, 2, "s", value, "c")
    with pytest.raises(ValueError, match="cannot stand"):
        SlotMedia(1, 2, "s", "t", value)
