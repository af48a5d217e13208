# SPDX-License-Identifier: Apache-2.0
"""Descriptions made to harm: nothing but SdpError comes out, and what is accepted can be answered."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfu.sdp.document import MAX_CHARACTERS, MAX_LINES_PER_SECTION, SdpError, SessionDescription
from sfu.sdp.negotiation import compare_offers, parse_offer, payload_map, write_answer
from tests.sdp.answer_rules import split_sections
from tests.sdp.descriptions import CAPTURES, LOCAL, MID, OPUS, RID, TRANSPORT, VP8, audio, offer_text, slots_of, video

TEXTS = [path.read_bytes().decode() for path in CAPTURES]
LINES = sorted({line for text in TEXTS for line in text.splitlines()})
# Pieces that a parser of ours looks at, to be put where they do not belong.
PIECES = [
    ":",
    " ",
    ";",
    "=",
    "/",
    ",",
    "~",
    "-1",
    "0",
    "15",
    "255",
    "4294967295",
    "9" * 400,
    "a=",
    "m=",
    "\r",
    "\n",
    "\0",
]
PIECES += [
    "a=mid:0",
    "a=rid:q send",
    "a=simulcast:send ;;~,",
    "a=ssrc-group:FID 1 1",
    "a=extmap:1/x",
    "٣",
    "\ud800",
    "é",
]
COUNT = 300


def serve(text: str) -> None:
    """What a server does with an offer; only SdpError may stop it."""
    error: SdpError | None = None
    try:
        assert SessionDescription.parse(text).serialize() == text
        offer = parse_offer(text)
    except SdpError as caught:
        error = caught
    if error is not None:
        assert error.message
        assert error.advice
        assert error.line is None or 1 <= error.line <= text.count("\n") + 1
        return
    answer = write_answer(offer, LOCAL, slots_of(offer), 1)
    session, sections = split_sections(answer)
    assert len(session) <= 9
    assert len(sections) == len(offer.sections) == len(SessionDescription.parse(answer).media)
    for section in offer.sections:
        for other in offer.sections:
            payload_map(section, other)
    changes = compare_offers(offer, offer)
    assert not changes.added + changes.removed + changes.changed


@st.composite
def edited(draw: st.DrawFn) -> str:
    """A captured description with some lines dropped, doubled, moved, cut or written into."""
    lines = draw(st.sampled_from(TEXTS)).split("\r\n")
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "insert", "cut", "write", "swap"])):
            case "drop":
                del lines[at : at + draw(st.integers(1, 4))]
            case "double":
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case "insert":
                lines.insert(at, draw(st.sampled_from(LINES)))
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "write":
                start = draw(st.integers(0, len(lines[at])))
                piece = draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)))
                lines[at] = lines[at][:start] + piece + lines[at][start + draw(st.integers(0, 3)) :]
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
        lines = lines or [""]
    return draw(st.sampled_from(["\r\n", "\n"])).join(lines)


def test_edited_captures(scaled: Callable[[int], int]) -> None:
    run(edited(), scaled(COUNT))


def test_lines_in_any_order(scaled: Callable[[int], int]) -> None:
    head = st.just(["v=0", "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102"])
    body = st.lists(st.sampled_from([*LINES, *PIECES]), max_size=40)
    run(st.builds(lambda first, rest: "\r\n".join([*first, *rest]), head, body), scaled(COUNT))


def test_any_text(scaled: Callable[[int], int]) -> None:
    run(st.text().map(lambda text: "v=0\r\n" + text), scaled(COUNT))


def run(texts: st.SearchStrategy[str], count: int) -> None:
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(texts)
    def check(text: str) -> None:
        serve(text)

    check()


def filled(line: Callable[[int], str], count: int = MAX_LINES_PER_SECTION - 40) -> list[str]:
    return [line(number) for number in range(count)]


LONG = MAX_CHARACTERS - 4096
NUMBERS = " ".join(str(number % 128) for number in range(100_000))
LARGEST = {
    "rtpmap": video("0", *VP8, *filled(lambda n: f"a=rtpmap:{n % 128} VP8/90000")),
    "rtx": video("0", *VP8, *filled(lambda n: f"a=fmtp:97 apt={n % 128}")),
    "feedback": video("0", *VP8, *filled(lambda n: f"a=rtcp-fb:* nack {n}"), formats=NUMBERS),
    "formats": video("0", *VP8, formats=NUMBERS),
    "fmtp": audio("0", OPUS[0], "a=fmtp:111 " + ";" * LONG),
    "fmtp words": audio("0", OPUS[0], "a=fmtp:111 " + "".join(f"k{n};" for n in range(LONG // 8))),
    "extmap": video("0", *VP8, *filled(lambda n: f"a=extmap:{n % 255} {MID}")),
    "rid": video("0", *VP8, f"a=extmap:1 {RID}", *filled(lambda n: f"a=rid:{n} send")),
    "alternatives": video("0", *VP8, f"a=extmap:1 {RID}", "a=rid:q send", "a=simulcast:send " + "x," * (LONG // 2)),
    "simulcast": video("0", *VP8, f"a=extmap:1 {RID}", "a=rid:q send", "a=simulcast:send " + "q;" * (LONG // 2)),
    "sources": video("0", *VP8, *filled(lambda n: f"a=ssrc-group:FID {n + 1} {n + 2}")),
    "layers": video("0", *VP8, "a=ssrc-group:SIM " + " ".join(str(n) for n in range(1, LONG // 7))),
    "media line": ["m=video 9 " + "x " * (LONG // 2)],
    "fingerprint": ["m=video 9 RTP/SAVPF 0", "a=mid:0", *TRANSPORT[:2], "a=fingerprint:sha-256 " + "AB:" * (LONG // 3)],
    "attribute names": video("0", *VP8, *filled(lambda n: f"a=x{n}")),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_of_everything_is_read_in_bounded_time(name: str) -> None:
    """Work that grows with the square of the size would take minutes here, and the loop of a server with it."""
    text = offer_text(LARGEST[name])
    assert len(text) <= MAX_CHARACTERS
    serve(text)


@pytest.mark.timeout(10)
def test_the_largest_number_of_sections() -> None:
    serve(offer_text(*(video(str(number), *VP8, "a=recvonly") for number in range(128))))
    serve(offer_text(audio("0", *OPUS), bundle=" ".join(str(number) for number in range(LONG // 8))))
