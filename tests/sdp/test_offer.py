# SPDX-License-Identifier: Apache-2.0
"""What is read from the offers of real programs, and from the variations that others may write."""

from sfu.sdp.document import SessionDescription
from sfu.sdp.media import (
    ABS_SEND_TIME_URI,
    AUDIO_LEVEL_URI,
    MID_URI,
    RECEIVE_EXTENSIONS,
    REPAIRED_RID_URI,
    RID_URI,
    TRANSPORT_CC_URI,
    VIDEO_ORIENTATION_URI,
    read_sections,
)
from sfu.sdp.negotiation import MediaSection, parse_offer
from tests.sdp.descriptions import FINGERPRINT, MID, OPUS, RID, VP8, audio, captured, offer_text, video

VIDEO_FEEDBACK = {"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}


def formats(section: MediaSection) -> list[tuple[str, int, int | None]]:
    return [(codec.name, codec.payload_type, codec.rtx_payload_type) for codec in section.codecs]


def test_chromium_publisher() -> None:
    offer = parse_offer(captured("chromium-156-simulcast-offer"))
    assert (offer.ufrag, offer.password) == ("NQOO", "FaoQOoh/b1Av4OVhJRY39Yn+")
    assert (offer.setup, offer.answer_setup) == ("actpass", "passive")
    assert offer.fingerprints[0][0] == "sha-256"
    assert offer.fingerprints[0][1].startswith("02:C7:20:C5:DE:60")
    assert offer.bundle == ("0", "1", "2")
    assert offer.extmap_allow_mixed
    microphone, camera, data = offer.sections

    assert (microphone.kind, microphone.direction, microphone.mid) == ("audio", "publish", "0")
    assert formats(microphone) == [("opus", 111, None), ("red", 63, None), ("PCMU", 0, None), ("PCMA", 8, None)]
    assert microphone.codecs[0].parameters == {"minptime": "10", "useinbandfec": "1"}
    assert microphone.codecs[0].feedback == {"transport-cc"}
    assert microphone.declared == ((3324782846, None),)
    assert microphone.extensions == {1: AUDIO_LEVEL_URI, 2: ABS_SEND_TIME_URI, 3: TRANSPORT_CC_URI, 4: MID_URI}
    assert microphone.stream_id == camera.stream_id == "3b26c322-3587-42d0-8c4d-03869f2ee60b"
    assert microphone.track_id == "e8e73d93-d552-4128-9d57-67d924b83d49"

    assert (camera.kind, camera.direction, camera.rids) == ("video", "publish", ("q", "h", "f"))
    assert formats(camera)[:3] == [("VP8", 96, 97), ("H264", 102, 103), ("H264", 104, 107)]
    assert {codec.name for codec in camera.codecs} == {"VP8", "VP9", "H264", "AV1"}
    assert all(codec.feedback == VIDEO_FEEDBACK for codec in camera.codecs)
    assert set(camera.extensions.values()) == {
        ABS_SEND_TIME_URI,
        VIDEO_ORIENTATION_URI,
        TRANSPORT_CC_URI,
        MID_URI,
        RID_URI,
        REPAIRED_RID_URI,
    }
    assert camera.declared == ()

    assert (data.kind, data.direction, data.rejected) == ("application", "inactive", True)


def test_slots_of_chromium_and_firefox() -> None:
    for name in ("chromium-156-slots-offer", "firefox-153-slots-offer"):
        sections = parse_offer(captured(name)).sections
        assert [section.kind for section in sections] == ["audio", "video", *["video"] * 4, *["audio"] * 6]
        assert [section.direction for section in sections] == ["publish"] * 2 + ["receive"] * 10
        assert sections[1].rids == ("q", "h", "f")
        assert not any(section.rejected for section in sections)
        for slot in sections[2:6]:
            assert slot.codecs[0].name == "VP8"
            assert slot.codecs[0].feedback == {"transport-cc", "ccm fir", "nack", "nack pli"}
            assert slot.codecs[0].rtx_payload_type is not None
        for slot in sections[2:]:
            assert set(slot.extensions.values()) <= RECEIVE_EXTENSIONS
            assert MID_URI in slot.extensions.values()
            assert not slot.declared
            assert not slot.rids


def test_firefox_names_its_certificate_once_for_the_session() -> None:
    offer = parse_offer(captured("firefox-153-slots-offer"))
    assert len(offer.fingerprints) == 1
    # Only the first section has a port, the others live in the bundle.
    assert [section.rejected for section in offer.sections] == [False] * 12
    assert offer.sections[1].directed_extensions == {9, 10}


def test_ffmpeg_whip() -> None:
    offer = parse_offer(captured("ffmpeg-9-whip-offer"))
    assert (offer.setup, offer.answer_setup) == ("passive", "active")
    (section,) = offer.sections
    assert formats(section) == [("H264", 106, 105)]
    assert section.codecs[0].parameters["profile-level-id"] == "42000c"
    assert section.declared == ((3990583280, 3990583281),)
    assert (section.stream_id, section.track_id) == ("FFmpeg", "video")


def test_gstreamer() -> None:
    picture, sound = parse_offer(captured("gstreamer-1.22-webrtcbin-offer")).sections
    assert formats(picture) == [("VP8", 96, None)]
    assert picture.declared == ((2653280023, None),)
    # transport-cc feedback was offered, the extension that it speaks of was not.
    assert picture.codecs[0].feedback == {"ccm fir", "nack pli"}
    assert formats(sound) == [("opus", 97, None)]
    assert not sound.rejected
    assert (sound.stream_id, sound.track_id) == ("user2580284700@host-fcb2ee7d", "webrtctransceiver1")


def test_the_model_does_not_depend_on_the_role() -> None:
    """A client's answer to an offer of ours reads like a client's offer."""
    sound, picture = read_sections(SessionDescription.parse(captured("chromium-156-subscriber-answer")))
    assert (sound.kind, sound.direction) == ("audio", "receive")
    assert (picture.kind, picture.direction, formats(picture)) == ("video", "receive", [("VP8", 96, 97)])


def test_directions() -> None:
    for line, direction in {
        "a=sendonly": "publish",
        "a=sendrecv": "publish",
        "a=recvonly": "receive",
        "a=inactive": "inactive",
        "a=x": "publish",
    }.items():
        assert parse_offer(offer_text(video("0", *VP8, line))).sections[0].direction == direction
    by_session = parse_offer(offer_text(video("0", *VP8), audio("1", *OPUS, "a=sendonly"), session=["a=recvonly"]))
    assert [section.direction for section in by_session.sections] == ["receive", "publish"]


def test_feedback_for_all_payload_types() -> None:
    lines = ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:* nack  pli", "a=rtcp-fb:96 ccm fir", "a=rtcp-fb:96 goog-remb"]
    assert parse_offer(offer_text(video("0", *lines))).sections[0].codecs[0].feedback == {"nack pli", "ccm fir"}


def test_remb_is_for_publishers_with_transport_wide_feedback() -> None:
    lines = ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 goog-remb", "a=rtcp-fb:96 transport-cc", "a=fmtp:97 apt=96"]
    extension = f"a=extmap:3 {TRANSPORT_CC_URI}"
    sections = (
        video("0", *lines, extension, "a=sendonly"),
        video("1", *lines, extension, "a=recvonly"),
        video("2", *lines, "a=sendonly"),
    )
    publish, receive, without = (one.codecs[0].feedback for one in parse_offer(offer_text(*sections)).sections)
    assert publish == {"goog-remb", "transport-cc"}
    assert receive == {"transport-cc"}
    assert without == set()


def test_a_receiver_without_retransmission_gets_no_nack() -> None:
    lines = ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"]
    publish, receive = parse_offer(
        offer_text(video("0", *lines, formats="96"), video("1", *lines, "a=recvonly", formats="96"))
    ).sections
    assert publish.codecs[0].feedback == {"nack", "nack pli"}
    assert receive.codecs[0].feedback == {"nack pli"}


def test_codecs_that_cannot_be_served_are_left_out() -> None:
    lines = [
        "a=rtpmap:100 H265/90000",
        "a=rtpmap:101 vp8/90000",
        "a=rtpmap:102 VP8/8000",
        "a=rtpmap:103 H264/90000",
        "a=fmtp:103 packetization-mode=2;profile-level-id=42e01f",
        "a=rtpmap:104 H264/90000",
        "a=fmtp:104 packetization-mode=1; profile-level-id=nonsense",
        "a=rtpmap:105 H264/90000",
        "a=rtpmap:72 VP8/90000",  # with the marker bit: an RTCP sender report
        "a=rtpmap:128 VP8/90000",
        "a=rtpmap:106",
        "a=fmtp:107 apt=101",
        "a=rtpmap:107 rtx/90000",
        "a=rtpmap:108 rtx/90000",
        "a=fmtp:108 apt=100",
        "a=rtpmap:109 rtx/90000",
    ]
    text = offer_text(video("0", *lines, formats="100 101 102 103 104 105 72 128 106 107 108 109 x 101"))
    assert formats(parse_offer(text).sections[0]) == [("VP8", 101, 107), ("H264", 105, None)]


def test_sections_without_use_are_rejected() -> None:
    nothing_known = video("0", "a=rtpmap:96 H265/90000")
    other_kind = ["m=text 9 UDP/TLS/RTP/SAVPF 98", "a=mid:1", "a=rtcp-mux", "a=rtpmap:98 t140/1000"]
    other_protocol = ["m=video 9 RTP/AVP 96", "a=mid:2", "a=rtcp-mux", *VP8]
    stopped = ["m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:3", *VP8]
    anonymous = ["m=video 0 UDP/TLS/RTP/SAVPF 96"]
    offer = parse_offer(offer_text(nothing_known, other_kind, other_protocol, stopped, anonymous, video("5", *VP8)))
    assert [section.rejected for section in offer.sections] == [True] * 5 + [False]
    assert all(section.direction == "inactive" and not section.codecs for section in offer.sections[:5])
    assert [section.index for section in offer.sections] == list(range(6))


def test_extensions_that_are_not_taken() -> None:
    lines = [
        "a=extmap:1 urn:example:unknown",
        f"a=extmap:0 {MID}",
        f"a=extmap:15 {MID}",
        f"a=extmap:256 {MID}",
        f"a=extmap:4097 {MID}",
        f"a=extmap:x {MID}",
        "a=extmap:2",
        f"a=extmap:2/recvonly {RID}",
        f"a=extmap:3/sendonly {MID} with attributes",
        f"a=extmap:4 {MID}",
        f"a=extmap:3 {ABS_SEND_TIME_URI}",
    ]
    section = parse_offer(offer_text(video("0", *VP8, *lines, "a=sendonly"))).sections[0]
    assert section.extensions == {3: MID_URI}
    assert section.directed_extensions == {3}


def test_an_extension_id_has_one_meaning_in_a_bundle() -> None:
    first = video("0", *VP8, f"a=extmap:3 {MID}", "a=sendonly")
    second = audio("1", *OPUS, f"a=extmap:3 {AUDIO_LEVEL_URI}", f"a=extmap:4 {MID}", "a=sendonly")
    offer = parse_offer(offer_text(first, second))
    assert offer.sections[0].extensions == {3: MID_URI}
    assert offer.sections[1].extensions == {4: MID_URI}


def test_the_transport_is_that_of_the_first_section_that_is_used() -> None:
    unused = video("0", "a=rtpmap:96 H265/90000")
    unused[3] = "a=ice-ufrag:other"
    offer = parse_offer(offer_text(unused, audio("1", *OPUS)))
    assert offer.ufrag == "abcd"
    assert parse_offer(offer_text(audio("1", *OPUS), unused, bundle="0 1")).ufrag == "abcd"


def test_credentials_may_stand_in_the_session() -> None:
    transport = {"a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901", f"a=fingerprint:{FINGERPRINT}"}
    bare = [line for line in video("0", *VP8) if line not in transport]
    offer = parse_offer(offer_text(bare, session=[*transport, f"a=fingerprint:{FINGERPRINT.lower()}"]))
    assert offer.ufrag == "abcd"
    assert offer.fingerprints == (("sha-256", FINGERPRINT.removeprefix("sha-256 ")),)


def test_without_setup_the_server_is_passive() -> None:
    bare = [line for line in video("0", *VP8) if not line.startswith("a=setup")]
    assert parse_offer(offer_text(bare)).answer_setup == "passive"
    assert parse_offer(offer_text([*bare, "a=setup:active"])).answer_setup == "passive"
