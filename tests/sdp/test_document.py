# SPDX-License-Identifier: Apache-2.0
"""The document keeps every byte, finds attributes with their line, and refuses what has no structure."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.sdp.document import (
    MAX_CHARACTERS,
    MAX_LINES_PER_SECTION,
    MAX_MEDIA_SECTIONS,
    SdpError,
    SessionDescription,
    parse_unsigned,
)
from tests.sdp.descriptions import CAPTURES, captured

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_captures_are_written_back_byte_by_byte(path: Path) -> None:
    raw = path.read_bytes()
    assert SessionDescription.parse(raw.decode()).serialize().encode() == raw


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_line_feeds_alone_are_kept_too(path: Path) -> None:
    text = path.read_bytes().decode().replace("\r\n", "\n")
    description = SessionDescription.parse(text)
    assert description.serialize() == text
    assert all("\r" not in line for media in description.media for line in media.lines)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=30)), st.booleans())
def test_unknown_lines_are_kept(lines: list[str], ends_with_line_feed: bool) -> None:
    known = ["v=0", *(line for line in lines if not line.startswith("m=")), "m=audio 9 RTP/SAVPF 0", "a=mid:0"]
    text = "\r\n".join([*known, *(line for line in lines if not line.startswith("m="))]) + "\r\n" * ends_with_line_feed
    assert SessionDescription.parse(text).serialize() == text


def test_attributes_are_found_by_name_with_their_line() -> None:
    media = SessionDescription.parse(captured("ffmpeg-9-whip-offer")).media[0]
    assert (media.media, media.port, media.protocol) == ("video", 9, "UDP/TLS/RTP/SAVPF")
    assert media.formats == ("106", "105")
    assert media.first_line == 8
    assert media.first("mid") == (14, "1")
    assert [attribute.value for attribute in media.all("rtpmap")] == ["106 H264/90000", "105 rtx/90000"]
    assert media.has("rtcp-mux")
    assert media.first("rtcp-mux") == (17, "")
    assert media.first("simulcast") is None
    assert not media.all("rid")


def test_port_zero_in_a_bundle_is_not_a_refusal() -> None:
    description = SessionDescription.parse(captured("gstreamer-1.22-webrtcbin-offer"))
    assert description.media[1].port == 0
    assert not description.media[1].rejected
    assert SessionDescription.parse(HEAD + "m=audio 0 RTP/SAVPF 0\r\n").media[0].rejected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "not a session description"),
        ("hello", 1, "not a session description"),
        ("\r\nv=0\r\n", 1, "not a session description"),
        ("v=1\r\n", 1, "not a session description"),
        (HEAD + "a=x:\0\r\n", 5, "control character"),
        (HEAD + "a=x:\ra=y\r\n", 5, "control character"),
        (HEAD + "a=x\r\r\n", 5, "control character"),
        (HEAD + "m=audio\r\n", 5, "malformed media line"),
        (HEAD + "m=audio 9 RTP/SAVPF\r\n", 5, "malformed media line"),
        (HEAD + "m=audio -1 RTP/SAVPF 0\r\n", 5, "malformed media line"),
        (HEAD + "m=audio 65536 RTP/SAVPF 0\r\n", 5, "malformed media line"),
        (HEAD + "m=audio ٩ RTP/SAVPF 0\r\n", 5, "malformed media line"),
        (HEAD + "m=audio 9 RTP/SAVPF 0\r\nm=video 9\r\n", 6, "malformed media line"),
    ],
)
def test_what_has_no_structure_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(SdpError, match=message) as caught:
        SessionDescription.parse(text)
    assert caught.value.line == line
    assert caught.value.advice
    assert str(caught.value) == f"line {line}: {caught.value.message}; {caught.value.advice}"


def test_sizes_are_bounded() -> None:
    with pytest.raises(SdpError, match="characters"):
        SessionDescription.parse(HEAD + "a" * MAX_CHARACTERS)
    with pytest.raises(SdpError, match="media sections"):
        SessionDescription.parse(HEAD + "m=audio 9 RTP/SAVPF 0\r\n" * (MAX_MEDIA_SECTIONS + 1))
    with pytest.raises(SdpError, match="lines"):
        SessionDescription.parse(HEAD + "m=audio 9 RTP/SAVPF 0\r\n" + "\n" * MAX_LINES_PER_SECTION)
    with pytest.raises(SdpError, match="lines"):
        SessionDescription.parse(HEAD + "\n" * MAX_LINES_PER_SECTION)
    assert len(SessionDescription.parse(HEAD + "m=audio 9 RTP/SAVPF 0\r\n" * MAX_MEDIA_SECTIONS).media) == 128


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1_0", "٣", "²", "0x1", "256", "1" * 5000])
def test_numbers_are_decimal_and_bounded(text: str) -> None:
    assert parse_unsigned(text, 255) is None


def test_numbers_within_bounds() -> None:
    assert [parse_unsigned(text, 255) for text in ("0", "7", "007", "255")] == [0, 7, 7, 255]
