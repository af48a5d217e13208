# SPDX-License-Identifier: Apache-2.0
"""VP9, AV1, RED and G.711: what is taken of an offer, and who can play what."""

import pytest

from sfu.sdp.codecs import VIDEO_CODECS
from sfu.sdp.media import DEPENDENCY_DESCRIPTOR_URI, MediaSection
from sfu.sdp.negotiation import parse_offer, payload_map
from tests.sdp.descriptions import OPUS, VP8, audio, captured, offer_text, video


def section(kind: str, formats: str, *lines: str) -> MediaSection:
    make = video if kind == "video" else audio
    return parse_offer(offer_text(make("0", *lines, formats=formats))).sections[0]


def vp9(profile: str | None, number: int = 98) -> MediaSection:
    parameters = [] if profile is None else [f"a=fmtp:{number} profile-id={profile}"]
    return section("video", str(number), f"a=rtpmap:{number} VP9/90000", *parameters)


@pytest.mark.parametrize(("stream", "decoder", "plays"), [(None, "0", True), ("2", "2", True), ("2", None, False)])
def test_vp9_profiles_are_not_mixed(stream: str | None, decoder: str | None, plays: bool) -> None:
    assert payload_map(vp9(stream), vp9(decoder, 100)) == (((98, 100, None),) if plays else ())


def test_vp9_profiles_that_nobody_decodes_are_not_taken() -> None:
    assert vp9("1").rejected


def test_av1_main_profile_only() -> None:
    def av1(parameters: str, number: int = 45) -> MediaSection:
        return section("video", str(number), f"a=rtpmap:{number} AV1/90000", f"a=fmtp:{number} {parameters}")

    assert av1("level-idx=5;profile=1;tier=0").rejected
    assert payload_map(av1("level-idx=5;profile=0;tier=0"), av1("level-idx=8", 41)) == ((45, 41, None),)


RED = ("a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111")


def test_red_needs_the_same_payload_types_inside() -> None:
    both = section("audio", "111 63", *OPUS, *RED)
    assert payload_map(both, both) == ((111, 111, None), (63, 63, None))
    other = section("audio", "109 63", "a=rtpmap:109 opus/48000/2", "a=rtpmap:63 red/48000/2", "a=fmtp:63 109/109")
    # Stripped then, as for somebody without RED.
    assert payload_map(both, other) == ((111, 109, None), (63, 109, None))
    assert payload_map(both, section("audio", "111", *OPUS)) == ((111, 111, None), (63, 111, None))


def test_g711_needs_no_rtpmap() -> None:
    sound = section("audio", "0 8")
    assert [(codec.name, codec.payload_type, codec.clock_rate) for codec in sound.codecs] == [
        ("PCMU", 0, 8000),
        ("PCMA", 8, 8000),
    ]


def test_vp8_publishes_without_dependency_descriptors() -> None:
    camera = parse_offer(captured("chromium-156-all-codecs-offer")).sections
    assert all(DEPENDENCY_DESCRIPTOR_URI not in one.extensions.values() for one in camera if one.direction == "publish")
    line = f"a=extmap:12 {DEPENDENCY_DESCRIPTOR_URI}"
    first = section("video", "98 96", "a=rtpmap:98 VP9/90000", *VP8, line)
    assert first.extensions == {12: DEPENDENCY_DESCRIPTOR_URI}


def test_a_publisher_is_answered_with_what_is_allowed_in_its_own_order() -> None:
    text = captured("chromium-156-all-codecs-offer")
    everything = [codec.name for codec in parse_offer(text).sections[0].codecs]
    for allowed in (("VP8", "AV1"), ("H264",), VIDEO_CODECS):
        found = [codec.name for codec in parse_offer(text, allowed).sections[0].codecs]
        assert found == [name for name in everything if name in allowed]


def test_the_dependency_descriptor_goes_by_the_first_codec_that_is_left() -> None:
    lines = ["a=rtpmap:45 AV1/90000", "a=rtpmap:96 VP8/90000", f"a=extmap:12 {DEPENDENCY_DESCRIPTOR_URI}", "a=sendonly"]
    text = offer_text(video("0", *lines, formats="45 96"))
    assert 12 in parse_offer(text).sections[0].extensions
    assert 12 not in parse_offer(text, ("VP8",)).sections[0].extensions
