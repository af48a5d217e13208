# SPDX-License-Identifier: Apache-2.0
"""Further offers of one connection: what they change, and which changes are not legal."""

import pytest

from sfu.sdp.negotiation import SdpError, compare_offers, parse_offer, write_answer
from tests.sdp.answer_rules import check_answer, split_sections
from tests.sdp.descriptions import LOCAL, OPUS, VP8, audio, captured, offer_text, slots_of, video

PUBLISH = video("0", *VP8, "a=sendonly")
RECEIVE = audio("1", *OPUS, "a=recvonly")
FIRST = parse_offer(offer_text(PUBLISH, RECEIVE))
STOPPED = ["m=audio 0 UDP/TLS/RTP/SAVPF 111", "a=mid:1", "a=inactive"]
REPLACED_BY_VIDEO = video("2", *VP8, "a=recvonly")


def changed(section: list[str], old: str, new: str) -> list[str]:
    assert any(old in line for line in section)
    return [line.replace(old, new) for line in section]


@pytest.mark.parametrize("browser", ["chromium-156", "firefox-153"])
def test_browsers(browser: str) -> None:
    first = parse_offer(captured(f"{browser}-slots-offer"))
    text = captured(f"{browser}-slots-reoffer")
    second = parse_offer(text)
    changes = compare_offers(first, second)
    assert changes.ice_restart
    assert not changes.dtls_restart
    assert [section.mid for section in changes.added] == ["12"]
    assert [section.mid for section in changes.removed] == ["2"]
    # The captures were taken with answers that accepted less, so that the second offer brings less, too.
    turned = [(before.mid, before.direction, now.direction) for before, now in changes.changed]
    assert [turn for turn in turned if turn[1] != turn[2]] == [("0", "publish", "inactive")]
    check_answer(text, write_answer(second, LOCAL, slots_of(second), 2))


def test_the_same_offer_changes_nothing() -> None:
    again = parse_offer(offer_text(PUBLISH, RECEIVE).replace("o=- 1 1", "o=- 1 2"))
    changes = compare_offers(FIRST, again)
    assert not changes.ice_restart
    assert not changes.dtls_restart
    assert not changes.added + changes.removed + changes.changed


def test_formats_that_we_do_not_serve_are_no_change() -> None:
    more = [PUBLISH[0] + " 120", *PUBLISH[1:], "a=rtpmap:120 H265/90000"]
    assert compare_offers(FIRST, parse_offer(offer_text(more, RECEIVE))).changed == ()


def test_payload_types_may_change() -> None:
    renumbered = [line.replace("96", "98") for line in PUBLISH]
    ((before, now),) = compare_offers(FIRST, parse_offer(offer_text(renumbered, RECEIVE))).changed
    assert (before.codecs[0].payload_type, now.codecs[0].payload_type) == (96, 98)


def test_sections_are_appended() -> None:
    changes = compare_offers(FIRST, parse_offer(offer_text(PUBLISH, RECEIVE, REPLACED_BY_VIDEO)))
    assert [(section.index, section.mid) for section in changes.added] == [(2, "2")]


def test_a_stopped_section_is_removed_and_its_place_taken_again() -> None:
    text = offer_text(PUBLISH, STOPPED, bundle="0")
    stopped = parse_offer(text)
    assert [section.mid for section in compare_offers(FIRST, stopped).removed] == ["1"]
    assert split_sections(write_answer(stopped, LOCAL, {}, 2))[1][1][0] == "m=audio 0 UDP/TLS/RTP/SAVPF 111"
    recycled = parse_offer(offer_text(PUBLISH, REPLACED_BY_VIDEO))
    changes = compare_offers(stopped, recycled)
    assert [(section.index, section.mid, section.kind) for section in changes.added] == [(1, "2", "video")]
    assert not changes.removed + changes.changed


def test_a_stopped_section_may_stay_stopped_under_another_name() -> None:
    stopped = parse_offer(offer_text(PUBLISH, STOPPED, bundle="0"))
    anonymous = parse_offer(offer_text(PUBLISH, ["m=video 0 RTP/SAVPF 0"], bundle="0"))
    changes = compare_offers(stopped, anonymous)
    assert not changes.added + changes.removed + changes.changed


def test_restarts() -> None:
    other_ice = [changed(section, "abcd", "efgh") for section in (PUBLISH, RECEIVE)]
    changes = compare_offers(FIRST, parse_offer(offer_text(*other_ice)))
    assert (changes.ice_restart, changes.dtls_restart) == (True, False)
    other_certificate = [changed(section, "AB:AB", "CD:CD") for section in (PUBLISH, RECEIVE)]
    changes = compare_offers(FIRST, parse_offer(offer_text(*other_certificate)))
    assert (changes.ice_restart, changes.dtls_restart) == (False, True)


def test_a_new_section_at_the_head_of_the_bundle_brings_a_new_transport() -> None:
    stopped_first = parse_offer(offer_text(["m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:0"], RECEIVE, bundle="1"))
    assert compare_offers(FIRST, stopped_first).ice_restart is False
    sections = [changed(section, "abcd", "efgh") for section in (REPLACED_BY_VIDEO, RECEIVE)]
    changes = compare_offers(stopped_first, parse_offer(offer_text(*sections)))
    assert (changes.ice_restart, changes.dtls_restart) == (True, True)
    # With the old credentials it is the old transport, whatever section it stands in.
    changes = compare_offers(stopped_first, parse_offer(offer_text(REPLACED_BY_VIDEO, RECEIVE)))
    assert (changes.ice_restart, changes.dtls_restart) == (False, False)


@pytest.mark.parametrize(
    "text",
    [
        offer_text(PUBLISH),
        offer_text(RECEIVE, PUBLISH),
        offer_text(PUBLISH, audio("7", *OPUS, "a=recvonly")),
        offer_text(PUBLISH, video("1", *VP8, "a=recvonly")),
        offer_text(PUBLISH, [STOPPED[0], "a=mid:7"], bundle="0"),
    ],
    ids=["taken out", "reordered", "renamed", "other kind", "renamed while stopped"],
)
def test_sections_in_use_keep_their_place(text: str) -> None:
    with pytest.raises(SdpError) as caught:
        compare_offers(FIRST, parse_offer(text))
    assert caught.value.advice
