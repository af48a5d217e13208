# SPDX-License-Identifier: Apache-2.0
"""What many sections have in common is read once, and means the same as if it were read each time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.sdp import codecs, media
from sfu.sdp.document import SessionDescription
from sfu.sdp.media import MediaSection, read_sections
from sfu.sdp.negotiation import parse_offer
from tests.sdp.descriptions import captured, offer_text, video

OFFERS = ("chromium-156-all-codecs-offer", "chromium-156-slots-offer", "firefox-153-slots-offer")
LINES = [
    line
    for offer in OFFERS
    for section in SessionDescription.parse(captured(offer)).media
    for line in section.raw("rtpmap", "fmtp", "rtcp-fb", "extmap")
]


def forget() -> None:
    codecs._read_codecs.cache_clear()
    media._read_extmap.cache_clear()


def sections(lines: list[str], direction: str) -> tuple[MediaSection, ...]:
    formats = " ".join(str(number) for number in range(35, 127))
    text = "\n".join(["v=0", f"m=video 9 UDP/TLS/RTP/SAVPF {formats}", "a=mid:0", f"a={direction}", *lines])
    return read_sections(SessionDescription.parse(text))


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=30), max_size=6), st.sampled_from(("recvonly", "sendonly")))
@settings(deadline=None)
def test_it_means_the_same(offers: list[list[str]], direction: str) -> None:
    remembered = [sections(lines, direction) for lines in offers * 2]
    for lines, section in zip(offers * 2, remembered, strict=True):
        forget()
        assert sections(lines, direction) == section


def test_equal_sections_share_their_codecs() -> None:
    forget()
    first, second = (parse_offer(captured("chromium-156-slots-offer")) for _ in range(2))
    assert first == second
    pictures = [one for one in (*first.sections, *second.sections) if (one.kind, one.direction) == ("video", "receive")]
    assert len({id(one.codecs) for one in pictures}) == 1


def test_what_is_unusually_long_is_not_remembered() -> None:
    forget()
    long = "x" * codecs.USUAL_CHARACTERS
    offer = parse_offer(offer_text(video("v", "a=recvonly", "a=rtpmap:96 VP8/90000", f"a=fmtp:96 {long}=1")))
    assert offer.sections[0].codecs[0].parameters == {long: "1"}
    assert codecs._read_codecs.cache_info().currsize == 0
