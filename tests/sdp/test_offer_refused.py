# SPDX-License-Identifier: Apache-2.0
"""An offer that the server cannot serve is refused with a place, a reason and an advice."""

import pytest

from sfu.sdp.negotiation import SdpError, parse_offer
from tests.sdp.descriptions import MID, OPUS, RID, VP8, audio, offer_text, video

BOTH = (video("0", *VP8), audio("1", *OPUS))


def without(section: list[str], start: str) -> list[str]:
    return [line for line in section if not line.startswith(start)]


def replaced(start: str, line: str) -> list[str]:
    return [line if old.startswith(start) else old for old in video("0", *VP8)]


LAYERS = [f"a=rid:{number} send" for number in range(9)]
SOURCES = [f"a=ssrc-group:SIM {' '.join(str(number) for number in range(1, 10))}"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (offer_text(), None, "without media sections"),
        (offer_text(*BOTH, bundle=""), 5, "outside of the BUNDLE group"),
        (offer_text(*BOTH, bundle="0"), 18, "outside of the BUNDLE group"),
        (offer_text(*BOTH, bundle="0", session=["a=group:BUNDLE 1"]), 19, "outside of the BUNDLE group"),
        (offer_text(*BOTH, bundle="", session=["a=group:LS 0 1"]), 6, "outside of the BUNDLE group"),
        (offer_text(without(video("0", *VP8), "a=mid"), bundle="0"), 6, "without a=mid"),
        (offer_text(video("0", *VP8), audio("0", *OPUS)), 18, "stands twice"),
        (offer_text(video("0" * 17, *VP8)), 7, "a=mid is not usable"),
        (offer_text(video("ä", *VP8)), 7, "a=mid is not usable"),
        (offer_text(video("", *VP8), bundle="0"), 7, "a=mid is not usable"),
        (offer_text(without(video("0", *VP8), "a=rtcp-mux")), 6, "without a=rtcp-mux"),
        (offer_text(without(video("0", *VP8), "a=ice-ufrag")), 6, "no a=ice-ufrag"),
        (offer_text(without(video("0", *VP8), "a=ice-pwd")), 6, "no a=ice-pwd"),
        (offer_text(replaced("a=ice-ufrag", "a=ice-ufrag:abc")), 9, "malformed a=ice-ufrag"),
        (offer_text(replaced("a=ice-ufrag", "a=ice-ufrag:ab cd")), 9, "malformed a=ice-ufrag"),
        (offer_text(replaced("a=ice-pwd", "a=ice-pwd:short")), 10, "malformed a=ice-pwd"),
        (offer_text(without(video("0", *VP8), "a=fingerprint")), 6, "no a=fingerprint"),
        (offer_text(replaced("a=fingerprint", "a=fingerprint:sha-256 12:34")), 11, "malformed a=fingerprint"),
        (offer_text(replaced("a=setup", "a=setup:holdconn")), 12, "a=setup is not usable"),
        (offer_text(video("0", *VP8, f"a=extmap:1 {RID}", *LAYERS)), 6, "9 simulcast layers"),
        (offer_text(video("0", *VP8, f"a=extmap:1 {MID}", *SOURCES)), 6, "9 simulcast layers"),
        (offer_text(video("0", *VP8, f"a=extmap:1 {RID}", f"a=rid:{'r' * 17} send")), 19, "a=rid is too long"),
    ],
)
def test_refused(text: str, line: int | None, message: str) -> None:
    with pytest.raises(SdpError, match=message) as caught:
        parse_offer(text)
    assert caught.value.line == line
    assert caught.value.advice


def test_a_section_that_is_refused_anyway_needs_no_bundle() -> None:
    stopped = ["m=audio 0 UDP/TLS/RTP/SAVPF 111", "a=mid:1"]
    assert parse_offer(offer_text(video("0", *VP8), stopped, bundle="0")).bundle == ("0",)


def test_an_offer_in_which_everything_is_stopped_is_read() -> None:
    """The last track and the last slot may go while the connection stays."""
    stopped = [line for line in video("0", *VP8, port=0) if line != "a=rtcp-mux"]
    offer = parse_offer(offer_text(stopped, bundle=""))
    assert offer.ufrag == "abcd"
    assert offer.sections[0].rejected
