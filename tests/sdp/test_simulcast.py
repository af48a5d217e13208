# SPDX-License-Identifier: Apache-2.0
"""Layers: by rid where there are rids, else by the SSRCs that the offer declares."""

import pytest

from sfu.sdp.negotiation import parse_offer, write_answer
from tests.sdp.answer_rules import check_answer, split_sections, values
from tests.sdp.descriptions import LOCAL, MID, RID, VP8, offer_text, video

EXTENSIONS = (f"a=extmap:3 {MID}", f"a=extmap:10 {RID}")
RIDS = ("a=rid:q send", "a=rid:h send", "a=rid:f send")


def answered_layers(*lines: str) -> tuple[tuple[str, ...], list[str], list[str]]:
    """rids as read, and the a=rid and a=simulcast lines of the answer."""
    text = offer_text(video("0", *VP8, *lines, "a=sendonly"))
    offer = parse_offer(text)
    answer = write_answer(offer, LOCAL, {}, 1)
    check_answer(text, answer)
    section = split_sections(answer)[1][0]
    return offer.sections[0].rids, values(section, "rid"), values(section, "simulcast")


@pytest.mark.parametrize(
    ("simulcast", "rids"),
    [
        ("send q;h;f", ("q", "h", "f")),
        ("send f;h;q", ("f", "h", "q")),
        ("recv x;y send f;q", ("f", "q")),
        ("send ~q;h;~f", ("q", "h", "f")),
        ("send q,h;f", ("q", "f")),
        ("send z,~h;f;z", ("h", "f")),
        ("send q;q;f", ("q", "f")),
    ],
)
def test_order_pauses_and_alternatives(simulcast: str, rids: tuple[str, ...]) -> None:
    read, rid_lines, simulcast_lines = answered_layers(*EXTENSIONS, *RIDS, f"a=simulcast:{simulcast}")
    assert read == rids
    assert rid_lines == [f"{rid} recv" for rid in rids]
    assert simulcast_lines == [f"recv {';'.join(rids)}"]


def test_rids_without_a_simulcast_line() -> None:
    assert answered_layers(*EXTENSIONS, *RIDS[1:]) == (("h", "f"), ["h recv", "f recv"], [])


@pytest.mark.parametrize("line", ["a=simulcast:", "a=simulcast:send", "a=simulcast:send ;;,", "a=simulcast:send x;y"])
def test_a_simulcast_line_that_names_no_layer(line: str) -> None:
    rids, rid_lines, simulcast_lines = answered_layers(*EXTENSIONS, *RIDS, line)
    assert simulcast_lines == []
    assert rid_lines == [f"{rid} recv" for rid in rids]


def test_rids_that_are_no_layers_of_the_client() -> None:
    lines = ["a=rid:r recv", "a=rid:", "a=rid:x", "a=rid:ä send", "a=rid:q send pt=96;max-width=320"]
    assert answered_layers(*EXTENSIONS, *lines)[0] == ("q",)


def test_without_the_rid_extension_layers_are_told_by_ssrc() -> None:
    text = offer_text(video("0", *VP8, *RIDS, "a=ssrc:7 cname:x", "a=sendonly"))
    section = parse_offer(text).sections[0]
    assert section.rids == ()
    assert section.declared == ((7, None),)


def declared(*lines: str) -> tuple[tuple[int, int | None], ...]:
    return parse_offer(offer_text(video("0", *VP8, *lines))).sections[0].declared


def test_declared_sources() -> None:
    assert declared("a=ssrc:7 cname:x", "a=ssrc:7 msid:a b") == ((7, None),)
    assert declared("a=ssrc-group:FID 7 8", "a=ssrc:7 cname:x", "a=ssrc:8 cname:x") == ((7, 8),)
    assert declared("a=ssrc:8 cname:x", "a=ssrc:7 cname:x", "a=ssrc-group:FID 7 8") == ((7, 8),)
    assert declared("a=ssrc-group:FEC-FR 7 9", "a=ssrc:9 cname:x", "a=ssrc:7 cname:x") == ((7, None),)
    assert declared("a=ssrc:7 cname:x", "a=ssrc:8 cname:x") == ((7, None),)
    assert declared() == ()


def test_a_group_of_sources_is_a_list_of_layers() -> None:
    groups = ["a=ssrc-group:SIM 1 2 3", "a=ssrc-group:FID 1 11", "a=ssrc-group:FID 3 13"]
    assert declared(*groups) == ((1, 11), (2, None), (3, 13))
    assert declared(*reversed(groups)) == ((1, 11), (2, None), (3, 13))


def test_rids_come_before_declared_sources() -> None:
    lines = [*EXTENSIONS, *RIDS, "a=simulcast:send q;h;f", "a=ssrc-group:SIM 1 2 3"]
    assert declared(*lines) == ()


@pytest.mark.parametrize(
    "line",
    ["a=ssrc:", "a=ssrc:0 cname:x", "a=ssrc:4294967296", "a=ssrc:-1", "a=ssrc-group:", "a=ssrc-group:FID 1",
     "a=ssrc-group:FID 1 1", "a=ssrc-group:FID 1 2 3", "a=ssrc-group:SIM", "a=ssrc-group:SIM x y"],
)  # fmt: skip
def test_declarations_that_say_nothing_are_passed_over(line: str) -> None:
    assert declared(line) == ()
